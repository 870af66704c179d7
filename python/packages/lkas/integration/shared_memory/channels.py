"""The channels. They are those of `lkas_channels.compat`."""

from lkas_channels.compat.channels import (
    ControlChannel,
    DetectionChannel,
    ImageChannel,
    SharedMemoryControlChannel,
    SharedMemoryDetectionChannel,
    SharedMemoryImageChannel,
)

__all__ = [
    "ControlChannel",
    "DetectionChannel",
    "ImageChannel",
    "SharedMemoryControlChannel",
    "SharedMemoryDetectionChannel",
    "SharedMemoryImageChannel",
]
