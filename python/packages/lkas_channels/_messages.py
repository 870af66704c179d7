"""Enumerations of the messages, and what makes the messages dataclasses."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from . import _native


class Mode(enum.StrEnum):
    """Who steers. Its value is what it is called on the wire."""

    MANUAL = "manual"
    """A person."""
    AUTOPILOT = "autopilot"
    """A system that also plans the route."""
    LANE_KEEPING = "lane_keeping"
    """The lane keeping assist."""
    EMERGENCY_STOP = "emergency_stop"
    """Nobody: the vehicle brakes to a stop."""


class Departure(enum.StrEnum):
    """How the vehicle keeps its lane."""

    CENTRED = "centred"
    """Near the middle."""
    DRIFT = "drift"
    """Away from the middle, inside the lane."""
    DEPARTURE = "departure"
    """At a line or beyond it."""


def _dataclass(native: Any, fields: list[tuple[Any, ...]]) -> None:
    """Gives a native class what `dataclasses` looks for: fields, asdict, replace, and patterns of `match`."""
    template = dataclasses.make_dataclass(native.__name__, fields, frozen=True)
    for name in ("__dataclass_fields__", "__dataclass_params__", "__match_args__"):
        setattr(native, name, getattr(template, name))
    names = [field.name for field in dataclasses.fields(template)]

    def values(self: Any) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in names)

    def __repr__(self: Any) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(names, values(self), strict=True))
        return f"{native.__name__}({shown})"

    def __reduce__(self: Any) -> tuple[Any, ...]:
        return native, values(self)

    def __replace__(self: Any, /, **changes: Any) -> Any:
        return dataclasses.replace(self, **changes)

    for method in (__repr__, __reduce__, __replace__):
        method.__qualname__ = f"{native.__name__}.{method.__name__}"
        setattr(native, method.__name__, method)


_dataclass(
    _native.Lane,
    [("x1", float), ("y1", float), ("x2", float), ("y2", float), ("confidence", float, 1.0)],
)
_dataclass(
    _native.Detection,
    [
        ("left", "Lane | None", None),
        ("right", "Lane | None", None),
        ("width", int, 0),
        ("height", int, 0),
        ("frame_id", int, 0),
        ("timestamp", float, 0.0),
        ("processing_time_ms", float, 0.0),
    ],
)
_dataclass(
    _native.Control,
    [
        ("mode", Mode, Mode.EMERGENCY_STOP),
        ("steering", float, 0.0),
        ("throttle", float, 0.0),
        ("brake", float, 1.0),
        ("lateral_offset", "float | None", None),
        ("lateral_offset_m", "float | None", None),
        ("heading_angle_deg", "float | None", None),
        ("lane_width_px", "float | None", None),
        ("departure", "Departure | None", None),
        ("frame_id", int, 0),
        ("timestamp", float, 0.0),
        ("processing_time_ms", float, 0.0),
    ],
)
