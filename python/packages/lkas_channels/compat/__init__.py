"""The names of the original document, and of the programs that were written after it, over `lkas_channels`.

A checkout of these programs has a package `lkas` of its own, which hides the one of this wheel. There, replace the
content of `lkas/integration/shared_memory/__init__.py` by

    from lkas_channels.compat import *

and that of its `channels.py` and `messages.py` by the same line, so that all parts mean the same classes.
"""

from __future__ import annotations

from .channels import (
    ControlChannel,
    DetectionChannel,
    ImageChannel,
    SharedMemoryControlChannel,
    SharedMemoryDetectionChannel,
    SharedMemoryImageChannel,
)
from .messages import ControlMessage, ControlMode, DetectionMessage, ImageMessage, LaneMessage

__all__ = [
    "ControlChannel",
    "ControlMessage",
    "ControlMode",
    "DetectionChannel",
    "DetectionMessage",
    "ImageChannel",
    "ImageMessage",
    "LaneMessage",
    "SharedMemoryControlChannel",
    "SharedMemoryDetectionChannel",
    "SharedMemoryImageChannel",
]
