"""Channels of a lane keeping assist system: the newest camera frame, detection and control, between processes.

Use it when processes on one Linux machine each need the newest value of something, whole, at full rate, and must survive
each other's death. Do not use it where every value has to arrive.

    from lkas_channels import Detection, DetectionWriter, ImageReader

    with ImageReader("camera_feed", wait=5) as frames, DetectionWriter("lane_detection") as detections:
        for frame in frames.frames(timeout=1):
            left, right = detect(frame.image)          # a view of shared memory, not a copy
            detections.write(Detection(left, right, frame_id=frame.frame_id, timestamp=frame.timestamp))

An array that was made of a frame, and every slice of it, keeps that frame as it is. Times are seconds of the monotonic
clock, as `now()` gives them.
"""

from __future__ import annotations

import importlib as _importlib
import importlib.util as _importlib_util
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from ._channel import Channel, ChannelReader, ChannelWriter

# Python 3.13 and newer refuse by themselves. The types of what is written in Rust would be those of another interpreter.
if _importlib_util.find_spec("_xxsubinterpreters"):
    _interpreters = _importlib.import_module("_xxsubinterpreters")
    if _interpreters.get_current() != _interpreters.get_main():
        raise ImportError("lkas_channels works in the main interpreter only; use a process in place of a subinterpreter")

from ._errors import (
    ChannelError,
    Forked,
    InUse,
    NoChannel,
    NoPlace,
    Released,
    Stale,
    WriterExists,
    WrongType,
)
from ._messages import Departure, Mode
from ._native import (
    ActionClient,
    Broker,
    Control,
    ControlReader,
    ControlSupervisor,
    ControlWriter,
    Detection,
    DetectionReader,
    DetectionWriter,
    Frame,
    ImageReader,
    ImageWriter,
    Lane,
    Loan,
    ParameterClient,
    SafetyEvent,
    VehicleStatusClient,
    _after_fork,
    channels,
    now,
    unlink,
)



def __getattr__(name: str) -> object:
    # Needs numpy, which controls and detections do not.
    if name in ("Channel", "ChannelReader", "ChannelWriter"):
        from . import _channel

        return getattr(_channel, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Handles of a forked child belong to its parent, and say so from here on.
_os.register_at_fork(after_in_child=_after_fork)

__all__ = [
    "ActionClient",
    "Broker",
    "Channel",
    "ChannelError",
    "ChannelReader",
    "ChannelWriter",
    "Control",
    "ControlReader",
    "ControlSupervisor",
    "ControlWriter",
    "Departure",
    "Detection",
    "DetectionReader",
    "DetectionWriter",
    "Forked",
    "Frame",
    "ImageReader",
    "ImageWriter",
    "InUse",
    "Lane",
    "Loan",
    "Mode",
    "NoChannel",
    "NoPlace",
    "ParameterClient",
    "Released",
    "SafetyEvent",
    "Stale",
    "VehicleStatusClient",
    "WriterExists",
    "WrongType",
    "channels",
    "now",
    "unlink",
]
