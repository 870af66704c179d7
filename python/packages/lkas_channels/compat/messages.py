"""The messages of the original programs. Channels take any object with these attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._messages import Mode as ControlMode

__all__ = ["ControlMessage", "ControlMode", "DetectionMessage", "ImageMessage", "LaneMessage"]


@dataclass
class ImageMessage:
    """A camera frame: `image` of shape (height, width, channels) and type uint8; `timestamp` in seconds since 1970."""

    image: Any
    frame_id: int = 0
    timestamp: float = 0.0


@dataclass
class LaneMessage:
    """A lane line in pixels: its lower end `x1`, `y1` and its upper end `x2`, `y2`; `confidence` is 0 to 1."""

    x1: int
    y1: int
    x2: int
    y2: int
    confidence: float = 1.0


@dataclass
class DetectionMessage:
    """The lane lines found in a frame; `timestamp` of that frame, in seconds since 1970."""

    left_lane: LaneMessage | None = None
    right_lane: LaneMessage | None = None
    frame_id: int = 0
    timestamp: float = 0.0
    processing_time_ms: float = 0.0


@dataclass
class ControlMessage:
    """What the vehicle shall do: `steering` -1 to 1, `throttle` and `brake` 0 to 1; the rest is for displays.

    `lateral_offset` is a fraction of half the lane's width, `heading_angle` in degrees, `departure_status` one of
    "CENTERED", "DRIFT" and "DEPARTURE".
    """

    steering: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    mode: ControlMode = ControlMode.LANE_KEEPING
    lateral_offset: float | None = None
    lateral_offset_meters: float | None = None
    heading_angle: float | None = None
    lane_width_pixels: float | None = None
    departure_status: str | None = None
    frame_id: int = 0
    timestamp: float = 0.0
    processing_time_ms: float = 0.0
