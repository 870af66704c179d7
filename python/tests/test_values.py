"""Detections, controls, and the supervisor."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle

import pytest
from conftest import GENEROUS, wait_until

import lkas_channels
from lkas_channels import (
    Control,
    ControlReader,
    ControlSupervisor,
    ControlWriter,
    Departure,
    Detection,
    DetectionReader,
    DetectionWriter,
    Lane,
    Mode,
    NoChannel,
    NoPlace,
    Released,
    Stale,
    WriterExists,
    WrongType,
    now,
)

DRIVE = Control(Mode.LANE_KEEPING, steering=0.125, throttle=0.15, brake=0.0, lateral_offset=-0.05,
                departure=Departure.DRIFT, frame_id=3, timestamp=1.5)


def test_messages_are_frozen_dataclasses():
    assert dataclasses.is_dataclass(DRIVE)
    as_dict = dataclasses.asdict(DRIVE)
    assert as_dict["steering"] == 0.125 and as_dict["throttle"] == 0.15 and as_dict["mode"] is Mode.LANE_KEEPING
    assert Control(**as_dict) == DRIVE and hash(Control(**as_dict)) == hash(DRIVE)
    assert dataclasses.replace(DRIVE, steering=0.5).steering == 0.5 and DRIVE.steering == 0.125
    assert pickle.loads(pickle.dumps(DRIVE)) == DRIVE
    assert repr(Lane(1, 2, 3, 4)) == "Lane(x1=1.0, y1=2.0, x2=3.0, y2=4.0, confidence=1.0)"
    with pytest.raises(AttributeError):
        DRIVE.steering = 1.0
    detection = Detection(left=Lane(200, 600, 350, 360, 0.95), frame_id=1)
    assert dataclasses.asdict(detection)["left"] == {"x1": 200, "y1": 600, "x2": 350, "y2": 360, "confidence": 0.95}
    assert detection != Detection(frame_id=1) and detection.right is None
    match detection:
        case Detection(Lane(x1, y1), None):
            assert (x1, y1) == (200, 600)
        case _:
            raise AssertionError("a pattern by position")


def test_the_default_control_is_an_emergency_stop():
    stop = Control()
    assert (stop.mode, stop.throttle, stop.brake, stop.departure) == (Mode.EMERGENCY_STOP, 0.0, 1.0, None)
    assert Control(throttle=1.0).throttle == 0.0, "an emergency stop has none"


def test_numbers_are_clamped_or_refused():
    control = Control("manual", steering=-7, throttle=2, brake=-1)
    assert (control.steering, control.throttle, control.brake) == (-1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="steering is NaN"):
        Control(steering=float("nan"))
    with pytest.raises(ValueError, match='mode is "fast", expected one of manual, autopilot'):
        Control("fast")
    with pytest.raises(ValueError, match="departure"):
        Control(departure="left")
    with pytest.raises(ValueError):
        Lane(float("inf"), 0, 0, 0)
    assert Lane(1, 2, 3, 4, 7).confidence == 1.0
    with pytest.raises(OverflowError):
        Control(frame_id=-1)


@pytest.mark.parametrize(
    ("writer_of", "reader_of", "value"),
    [(DetectionWriter, DetectionReader, Detection(right=Lane(1, 2, 3, 4), frame_id=9)),
     (ControlWriter, ControlReader, DRIVE)],
)
def test_values_pass(name, writer_of, reader_of, value):
    with pytest.raises(NoChannel):
        reader_of(name)
    with writer_of(name, readers=2) as writer, reader_of(name) as reader:
        assert reader.take() is None and reader.latest(max_age=0) is None and reader.age is None
        writer.write(value)
        assert reader.wait(GENEROUS) and reader.wait(0)
        assert reader.take() == value and reader.take() is None and reader.latest() == value
        assert reader.age >= 0 and reader.sequence == writer.sequence == 1
        for _ in range(4):
            writer.write(value)
        assert reader.take() == value and reader.missed == 3
        assert reader.latest(max_age=1000) == value
        with pytest.raises(Stale, match="expected at most 0.000 s"):
            reader.latest(max_age=0)
        assert isinstance(Stale(), TimeoutError)
        for bad in (-1, float("nan")):
            with pytest.raises(ValueError, match="expected seconds, 0 or more"):
                reader.latest(max_age=bad)
        with reader_of(name), pytest.raises(NoPlace):
            reader_of(name)
        with pytest.raises(FileExistsError):
            writer_of(name, grace=0)
        assert reader.writer_alive
    for use in (reader.take, lambda: writer.write(value)):
        with pytest.raises(Released):
            use()
    other = {DetectionReader: ControlReader, ControlReader: DetectionReader}[reader_of]
    with pytest.raises(WrongType) as caught:
        other(name)
    assert isinstance(caught.value, TypeError)


def test_iteration(name):
    with ControlWriter(name) as writer, ControlReader(name) as reader:
        writer.write(DRIVE)
        seen = []
        with pytest.raises(Stale, match="nothing new"):
            for control in reader.values(timeout=0.05):
                seen.append(control)
                if len(seen) < 5:
                    writer.write(DRIVE)
        assert len(seen) == 5

        async def first():
            async for control in reader:
                return control

        writer.write(DRIVE)
        assert asyncio.run(asyncio.wait_for(first(), GENEROUS)) == DRIVE


def test_names_and_options_are_checked(name):
    for bad in ("", "../x", "a/b", "x" * 200):
        with pytest.raises(ValueError):
            ControlWriter(bad)
    with pytest.raises(ValueError, match="both or neither"):
        ControlWriter(name, period=0.1)
    with pytest.raises(ValueError, match="600, 660 or 666"):
        ControlWriter(name, mode=0o640)
    with ControlWriter(name.removeprefix("pytest-"), namespace="pytest") as writer:
        assert writer.name == f"pytest.{name.removeprefix('pytest-')}"
    lkas_channels.unlink(writer.name)
    assert issubclass(WriterExists, FileExistsError)


def test_supervisor(name):
    with ControlSupervisor(name, max_age=0.2, resume_after=0.0) as supervisor:
        execute, events = supervisor.decide(True)
        assert (execute.mode, execute.throttle, events) == (Mode.EMERGENCY_STOP, 0.0, []), "waits for the first control"
        with ControlWriter(name) as writer:
            writer.write(dataclasses.replace(DRIVE, timestamp=now()))
            got = supervisor.next(GENEROUS)
            assert got.steering == 0.125
            execute, events = supervisor.decide(False)
            # A machine that was away for longer than the control's age is no failure of the supervisor.
            assert execute.mode in (Mode.LANE_KEEPING, Mode.EMERGENCY_STOP)
            assert [event.kind for event in events] in (["started"], [])

            seen = []

            def stopped():
                execute, events = supervisor.decide(False)
                seen.extend(events)
                return execute.mode is Mode.EMERGENCY_STOP

            wait_until(stopped, "the safe stop, although the writer lives")
            stops = [event for event in seen if event.kind == "safe_stop"]
            if stops:
                assert stops[0].age > stops[0].limit > 0.19 and "safe stop" in str(stops[0])
            assert supervisor.safe_stops == len(stops)
            # An old frame answered just now is old.
            writer.write(dataclasses.replace(DRIVE, timestamp=now() - 10))
            supervisor.next(GENEROUS)
            assert supervisor.decide(True)[0].mode is Mode.EMERGENCY_STOP
    with pytest.raises(Released):
        supervisor.decide(False)


@pytest.mark.parametrize(
    "bad",
    [{"brake": -1.0}, {"brake": 1.5}, {"brake": float("nan")}, {"max_age": float("inf")}, {"max_age": float("nan")},
     {"max_age": -1}, {"resume_after": float("nan")}, {"resume_after": -1}],
)
def test_a_supervisors_options_are_checked(name, bad):
    (option,) = bad
    with pytest.raises(ValueError, match=f"{option} is"):
        ControlSupervisor(name, **bad)
