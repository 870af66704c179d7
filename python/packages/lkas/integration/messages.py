"""The messages. They are those of `lkas_channels.compat`."""

from lkas_channels.compat.messages import ControlMessage, ControlMode, DetectionMessage, ImageMessage, LaneMessage

__all__ = ["ControlMessage", "ControlMode", "DetectionMessage", "ImageMessage", "LaneMessage"]
