"""The channels of the original document and of the programs that were written after it, over `lkas_channels`.

Images and detections are read once each: None where there is nothing new. Controls are read again and again for as long
as they are fresh, and as an emergency stop from then on: to a vehicle, None is no command to stop.
"""

from __future__ import annotations

import time
from typing import Any

from .. import _native
from .._errors import NoPlace
from .._messages import Departure
from .._native import (
    ControlReader,
    ControlWriter,
    DetectionReader,
    DetectionWriter,
    ImageReader,
    ImageWriter,
    now,
)
from ._clock import to_monotonic, to_unix
from ._roles import Roles, log
from .messages import ControlMessage, ControlMode, DetectionMessage, ImageMessage, LaneMessage

#: Controls older than this are read as an emergency stop, in seconds: what a ControlSupervisor allows.
MAX_CONTROL_AGE = 0.25
#: How hard an emergency stop brakes that nobody asked for.
STOP_BRAKE = 0.6
# By how much a frame may lie after the control that answers it, in seconds: its time was moved from another clock.
_EXACTNESS = 0.05


class _Images(Roles[ImageWriter, ImageReader]):
    def __init__(
        self, name: str, shape: tuple[int, int, int] | None, create: bool, retry_count: int, retry_delay: float
    ) -> None:
        self.shape: tuple[int, int, int] | None = None if shape is None else (shape[0], shape[1], shape[2])
        super().__init__(name, create, retry_count, retry_delay)

    def _make_writer(self) -> ImageWriter:
        if self.shape is None:
            self.shape = _native._look(self.name)[1]
        if self.shape is None:
            raise ValueError(f"the channel {self.name} has no shape; give width and height")
        return ImageWriter(self.name, self.shape)

    def _make_reader(self) -> ImageReader:
        try:
            return ImageReader(self.name)
        except NoPlace:
            return ImageReader(self.name, places=1)

    def _write(self, image: Any, frame_id: int, timestamp: float | None) -> None:
        if self.shape is None and self._writer is None:
            height, width, *channels = image.shape
            self.shape = (height, width, channels[0] if channels else 1)
        self._for_writing().write(image, frame_id, to_monotonic(timestamp))

    def _message(self, frame: _native.Frame, reader: ImageReader, copy: bool) -> ImageMessage:
        with frame:
            if copy:
                image = frame.copy()
            elif reader.pinned < reader.places:
                image = frame.image
            else:
                # The last place: a view of it would leave none for the next frame.
                image = frame.copy()
                image.flags.writeable = False
            return ImageMessage(image, frame.frame_id, to_unix(frame.timestamp))

    def _read(self, copy: bool) -> ImageMessage | None:
        reader = self._for_reading()
        frame = None if reader is None else reader.take()
        return None if reader is None or frame is None else self._message(frame, reader, copy)

    def _read_blocking(self, timeout: float, copy: bool) -> ImageMessage | None:
        _wait(self, timeout)
        return self._read(copy)


def _wait(channel: Roles[Any, Any], timeout: float) -> None:
    """Waits until there is something to read, also where the channel is not there yet."""
    end = time.monotonic() + timeout
    reader = channel._for_reading()
    while reader is None and time.monotonic() < end:
        time.sleep(min(0.005, timeout))
        reader = channel._for_reading()
    if reader is not None:
        reader.wait(max(0.0, end - time.monotonic()))


class ImageChannel(_Images):
    """Camera frames of `width` x `height` pixels with `channels` bytes each. `create`: whether this program owns them."""

    def __init__(
        self,
        name: str,
        create: bool = False,
        width: int | None = None,
        height: int | None = None,
        channels: int = 3,
        retry_count: int = 10,
        retry_delay: float = 0.5,
    ) -> None:
        if create and (width is None or height is None):
            width, height = width or 800, height or 600
        shape = None if width is None or height is None else (height, width, channels)
        super().__init__(name, shape, create, retry_count, retry_delay)

    def write(self, image: Any, frame_id: int = 0, timestamp: float | None = None) -> None:
        """Publishes a copy of `image`. `timestamp`: when it was captured, in seconds since 1970; None is now."""
        self._write(image, frame_id, timestamp)

    def read(self, copy: bool = False) -> ImageMessage | None:
        """The newest frame; None where it was read before. Its image is read-only and never changes under a reader,
        for as long as it is kept; with `copy` it may be written to."""
        return self._read(copy)

    def read_blocking(self, timeout: float = 1.0, copy: bool = False) -> ImageMessage | None:
        """As `read`, but waits for the next frame, at most `timeout` seconds."""
        return self._read_blocking(timeout, copy)


class SharedMemoryImageChannel(_Images):
    """Camera frames of `shape` (height, width, channels). `create`: whether this program owns the channel."""

    shape: tuple[int, int, int]

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        create: bool = True,
        retry_count: int = 10,
        retry_delay: float = 0.5,
    ) -> None:
        super().__init__(name, shape, create, retry_count, retry_delay)

    def write(self, image: Any, timestamp: float, frame_id: int) -> None:
        """Publishes a copy of `image`. `timestamp`: when it was captured, in seconds since 1970."""
        self._write(image, frame_id, timestamp)

    def read(self, copy: bool = True) -> ImageMessage | None:
        """The newest frame; None where it was read before. Without `copy`, its image is a read-only view, which never
        changes for as long as it is kept."""
        return self._read(copy)

    def read_blocking(self, timeout: float = 1.0, copy: bool = True) -> ImageMessage | None:
        """As `read`, but waits for the next frame, at most `timeout` seconds."""
        return self._read_blocking(timeout, copy)


def _lane(lane: Any) -> _native.Lane | None:
    if lane is None:
        return None
    return _native.Lane(lane.x1, lane.y1, lane.x2, lane.y2, lane.confidence)


def _lane_message(lane: _native.Lane | None) -> LaneMessage | None:
    if lane is None:
        return None
    return LaneMessage(round(lane.x1), round(lane.y1), round(lane.x2), round(lane.y2), lane.confidence)


class _Detections(Roles[DetectionWriter, DetectionReader]):
    def __init__(
        self, name: str, create: bool = True, retry_count: int = 10, retry_delay: float = 0.5
    ) -> None:
        super().__init__(name, create, retry_count, retry_delay)

    def _make_writer(self) -> DetectionWriter:
        return DetectionWriter(self.name)

    def _make_reader(self) -> DetectionReader:
        return DetectionReader(self.name)

    def _write(self, left: Any, right: Any, frame_id: int, timestamp: float | None, processing_time_ms: float) -> None:
        detection = _native.Detection(
            left=_lane(left),
            right=_lane(right),
            frame_id=frame_id,
            timestamp=to_monotonic(timestamp),
            processing_time_ms=processing_time_ms,
        )
        self._for_writing().write(detection)

    def read(self) -> DetectionMessage | None:
        """The newest detection; None where it was read before."""
        reader = self._for_reading()
        found = None if reader is None else reader.take()
        if found is None:
            return None
        return DetectionMessage(
            _lane_message(found.left),
            _lane_message(found.right),
            found.frame_id,
            to_unix(found.timestamp),
            found.processing_time_ms,
        )

    def read_blocking(self, timeout: float = 1.0) -> DetectionMessage | None:
        """As `read`, but waits for the next detection, at most `timeout` seconds."""
        _wait(self, timeout)
        return self.read()


class DetectionChannel(_Detections):
    """Lane lines. `create`: whether this program owns the channel."""

    def __init__(
        self, name: str, create: bool = False, retry_count: int = 10, retry_delay: float = 0.5
    ) -> None:
        super().__init__(name, create, retry_count, retry_delay)

    def write(
        self,
        left_lane: Any,
        right_lane: Any,
        frame_id: int = 0,
        processing_time_ms: float = 0.0,
        timestamp: float | None = None,
    ) -> None:
        """Publishes the lane lines of a frame; None where there is none. `timestamp`: when the frame was captured, in
        seconds since 1970; None is now."""
        self._write(left_lane, right_lane, frame_id, timestamp, processing_time_ms)


class SharedMemoryDetectionChannel(_Detections):
    """Lane lines. `create`: whether this program owns the channel."""

    def write(self, detection: Any) -> None:
        """Publishes a DetectionMessage."""
        self._write(
            detection.left_lane,
            detection.right_lane,
            detection.frame_id,
            detection.timestamp,
            detection.processing_time_ms,
        )


_TO_DEPARTURE = {
    "CENTERED": Departure.CENTRED,
    "CENTRED": Departure.CENTRED,
    "DRIFT": Departure.DRIFT,
    "DEPARTURE": Departure.DEPARTURE,
}
_FROM_DEPARTURE = {
    Departure.CENTRED: "CENTERED",
    Departure.DRIFT: "DRIFT",
    Departure.DEPARTURE: "DEPARTURE",
}


def _departure(status: Any) -> Departure | None:
    if status is None:
        return None
    name = str(getattr(status, "value", status)).upper()
    try:
        return _TO_DEPARTURE[name]
    except KeyError:
        raise ValueError(f'departure_status is "{status}", expected CENTERED, DRIFT or DEPARTURE') from None


def _mode(mode: Any) -> ControlMode:
    """By its name, so that an enumeration of the caller's own will do."""
    name = str(getattr(mode, "name", mode)).upper()
    try:
        return ControlMode[name]
    except KeyError:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(ControlMode.__members__)}") from None


class _Controls(Roles[ControlWriter, ControlReader]):
    #: Whether a reader that has never had a control is told to stop.
    _stops_from_the_start = False

    def __init__(
        self, name: str, create: bool = True, retry_count: int = 20, retry_delay: float = 0.5
    ) -> None:
        self._stopped = False
        super().__init__(name, create, retry_count, retry_delay)

    def _make_writer(self) -> ControlWriter:
        return ControlWriter(self.name)

    def _make_reader(self) -> ControlReader:
        return ControlReader(self.name)

    def _write(self, control: Any, frame_id: int, timestamp: float | None, processing_time_ms: float) -> None:
        self._for_writing().write(
            _native.Control(
                mode=_mode(control.mode),
                steering=control.steering,
                throttle=control.throttle,
                brake=control.brake,
                lateral_offset=getattr(control, "lateral_offset", None),
                lateral_offset_m=getattr(control, "lateral_offset_meters", None),
                heading_angle_deg=getattr(control, "heading_angle", None),
                lane_width_px=getattr(control, "lane_width_pixels", None),
                departure=_departure(getattr(control, "departure_status", None)),
                frame_id=frame_id,
                timestamp=to_monotonic(timestamp),
                processing_time_ms=processing_time_ms,
            )
        )

    def read(self) -> ControlMessage | None:
        """The newest control, again and again while it is fresh; an emergency stop once it is older than
        MAX_CONTROL_AGE, counted from the frame that it answers."""
        reader = self._for_reading()
        control = None if reader is None else reader.latest()
        if reader is None or control is None:
            return self._stop(None, "no control has arrived yet") if self._stops_from_the_start else None
        age = reader.age or 0.0
        if control.mode is not ControlMode.EMERGENCY_STOP:
            before_publish = now() - control.timestamp - age
            # Nothing answers a frame of the future: that has a time of another clock, which says nothing about age.
            age = before_publish if before_publish < -_EXACTNESS else age + max(before_publish, 0.0)
        if not 0.0 <= age <= MAX_CONTROL_AGE:
            return self._stop(control, f"the last control is {age:.2f} s old (limit {MAX_CONTROL_AGE} s)")
        if self._stopped:
            self._stopped = False
            log.warning("controls of %s are fresh again", self.name)
        departure = control.departure
        return ControlMessage(
            control.steering,
            control.throttle,
            control.brake,
            control.mode,
            control.lateral_offset,
            control.lateral_offset_m,
            control.heading_angle_deg,
            control.lane_width_px,
            None if departure is None else _FROM_DEPARTURE[departure],
            control.frame_id,
            to_unix(control.timestamp),
            control.processing_time_ms,
        )

    def _stop(self, control: _native.Control | None, why: str) -> ControlMessage:
        if not self._stopped:
            self._stopped = True
            log.warning("emergency stop on %s: %s", self.name, why)
        stop = ControlMessage(throttle=0.0, brake=STOP_BRAKE, mode=ControlMode.EMERGENCY_STOP)
        if control is not None:
            # In a curve, the wheel stays where it is.
            stop.steering = control.steering
            stop.frame_id = control.frame_id
            stop.timestamp = to_unix(control.timestamp)
        return stop

    def read_blocking(self, timeout: float = 1.0) -> ControlMessage | None:
        """As `read`, but waits for a new control, at most `timeout` seconds."""
        _wait(self, timeout)
        return self.read()


class ControlChannel(_Controls):
    """Controls. `create`: whether this program owns the channel. Before the first control, `read` gives None."""

    def __init__(
        self, name: str, create: bool = False, retry_count: int = 10, retry_delay: float = 0.5
    ) -> None:
        super().__init__(name, create, retry_count, retry_delay)

    def write(
        self,
        steering: float,
        throttle: float,
        brake: float,
        mode: Any = ControlMode.LANE_KEEPING,
        lateral_offset: float | None = None,
        lateral_offset_meters: float | None = None,
        heading_angle: float | None = None,
        lane_width_pixels: float | None = None,
        departure_status: str | None = None,
        frame_id: int = 0,
        timestamp: float | None = None,
        processing_time_ms: float = 0.0,
    ) -> None:
        """Publishes a control. `timestamp`: when the frame was captured that it answers, in seconds since 1970; None is
        now."""
        control = ControlMessage(
            steering,
            throttle,
            brake,
            mode,
            lateral_offset,
            lateral_offset_meters,
            heading_angle,
            lane_width_pixels,
            departure_status,
        )
        self._write(control, frame_id, timestamp, processing_time_ms)


class SharedMemoryControlChannel(_Controls):
    """Controls. `create`: whether this program owns the channel. Before the first control, `read` gives an emergency
    stop: the programs that exist take None for permission to drive on."""

    _stops_from_the_start = True

    def write(self, control: Any, frame_id: int, timestamp: float, processing_time_ms: float = 0.0) -> None:
        """Publishes a ControlMessage. `timestamp`: when the frame was captured that it answers, in seconds since 1970."""
        self._write(control, frame_id, timestamp, processing_time_ms)
