"""The names of the original document, and of the programs that were written after it."""

from __future__ import annotations

import enum
import importlib
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import GENEROUS, SHAPE, solid, wait_until

import lkas_channels
import lkas_channels.compat as compat
from lkas.integration.shared_memory import (
    ControlChannel,
    ControlMessage,
    ControlMode,
    DetectionChannel,
    DetectionMessage,
    ImageChannel,
    LaneMessage,
    SharedMemoryControlChannel,
    SharedMemoryDetectionChannel,
    SharedMemoryImageChannel,
)
from lkas_channels import ControlWriter, Control, ImageReader, ImageWriter, Released

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))


def test_the_import_paths_mean_the_same_classes():
    for path in ("lkas.integration.shared_memory", "lkas.integration.shared_memory.channels", "lkas_channels.compat"):
        assert importlib.import_module(path).SharedMemoryImageChannel is SharedMemoryImageChannel
    for path in ("lkas.integration.messages", "lkas.integration.shared_memory.messages", "lkas_channels.compat"):
        assert importlib.import_module(path).ControlMode is ControlMode is lkas_channels.Mode
    assert set(compat.__all__) >= {"ImageChannel", "DetectionChannel", "ControlChannel", "ImageMessage"}


def test_images(name):
    writer = ImageChannel(name=name, create=True, width=64, height=48, channels=3)
    reader = ImageChannel(name=name, create=False)
    assert reader.read() is None
    before = time.time()
    writer.write(solid(5), frame_id=1)
    message = reader.read()
    assert message.frame_id == 1 and message.image.shape == SHAPE and (message.image == 5).all()
    assert before - 0.01 <= message.timestamp <= time.time() + 0.01, "seconds since 1970"
    assert reader.read() is None, "not the same frame for ever"
    kept = [message]
    for number in range(2, 30):
        writer.write(solid(number), frame_id=number)
        message = reader.read()
        assert message.frame_id == number and not message.image.flags.writeable
        if number < 8:
            kept.append(message)
    assert [int(message.image.max()) for message in kept] == [5, 2, 3, 4, 5, 6, 7], "however many are kept"
    reader.close()
    writer.close()
    with pytest.raises(Released):
        reader.read()
    del message, kept


def test_images_of_the_programs(name):
    writer = SharedMemoryImageChannel(name, SHAPE, create=True)
    reader = SharedMemoryImageChannel(name=name, shape=SHAPE, create=False, retry_count=1, retry_delay=0.0)
    stamp = time.time() - 5
    writer.write(solid(1), stamp, 17)
    message = reader.read_blocking(timeout=GENEROUS)
    assert (message.frame_id, message.image[0, 0, 0]) == (17, 1) and abs(message.timestamp - stamp) < 0.01
    message.image[:] = 0  # a copy, one's own
    writer.write(solid(2), timestamp=stamp, frame_id=18)
    view = reader.read(copy=False).image
    for number in range(30):
        writer.write(solid(100 + number), stamp, 100 + number)
    assert (view == 2).all()
    with pytest.raises(ValueError):
        writer.write(np.zeros((4, 4, 3), np.uint8), stamp, 1)
    assert reader.read().frame_id == 129 and reader.read_blocking(timeout=0.0) is None
    assert (reader.name, reader.shape) == (name, SHAPE)
    del view
    reader.close()
    writer.unlink()
    assert name not in lkas_channels.channels()


def test_the_owner_may_be_the_reader(name):
    """Two programs, each of which owns what the other one writes, wait for nobody."""
    server_images = SharedMemoryImageChannel(name, SHAPE, create=True)
    server_detections = SharedMemoryDetectionChannel(name + ".d", create=True)
    client_images = SharedMemoryImageChannel(name, SHAPE, create=False, retry_count=1)
    client_detections = SharedMemoryDetectionChannel(name + ".d", create=False, retry_count=1)
    client_images.write(solid(3), time.time(), 1)
    assert server_images.read().frame_id == 1
    server_detections.write(DetectionMessage(LaneMessage(1, 2, 3, 4, 0.5), None, 1, time.time(), 2.5))
    found = client_detections.read()
    assert (found.left_lane, found.right_lane, found.frame_id, found.processing_time_ms) == (
        LaneMessage(1, 2, 3, 4, 0.5),
        None,
        1,
        2.5,
    )
    for channel in (client_images, client_detections, server_images, server_detections):
        channel.unlink()
    assert not [channel for channel in lkas_channels.channels() if channel.startswith(name)]


def test_an_owner_takes_over_what_is_used_and_forgets_what_is_not(name):
    with ImageWriter(name, SHAPE) as living:
        living.write(solid(1), 1)
        owner = ImageChannel(name, create=True, width=64, height=48)
        assert owner.read().frame_id == 1, "its writer was there before"
        owner.unlink()
        assert name in lkas_channels.channels(), "what is in use stays"
    old = ImageChannel(name, create=True, width=64, height=48)
    old.write(solid(2), 2)
    old.close()
    new = ImageChannel(name, create=True, width=64, height=48)
    assert ImageChannel(name, create=False).read() is None, "an earlier run's frame is nobody's news"
    new.unlink()


def test_a_missing_channel_is_a_connection_error(name):
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="after 3 attempts"):
        SharedMemoryControlChannel(name, create=False, retry_count=3, retry_delay=0.05)
    assert time.monotonic() - start >= 0.1
    late = threading.Timer(0.05, lambda: late_channels.append(ControlChannel(name, create=True)))
    late_channels: list[ControlChannel] = []
    late.start()
    ControlChannel(name, create=False, retry_count=600, retry_delay=0.05)
    late.join()


def test_detections(name):
    writer = DetectionChannel(name=name, create=True)
    reader = DetectionChannel(name=name, create=False)
    left = LaneMessage(x1=200, y1=600, x2=350, y2=360, confidence=0.95)
    writer.write(left, None, frame_id=1, processing_time_ms=8.5)
    found = reader.read_blocking(GENEROUS)
    assert (found.left_lane, found.right_lane, found.processing_time_ms) == (left, None, 8.5)
    assert isinstance(found.left_lane.x1, int) and reader.read() is None


def test_controls(name):
    writer = ControlChannel(name=name, create=True)
    reader = ControlChannel(name=name, create=False)
    assert reader.read() is None
    writer.write(steering=0.125, throttle=0.15, brake=0.0, mode=ControlMode.LANE_KEEPING, lateral_offset=-0.05,
                 heading_angle=2.3, departure_status="CENTERED", lane_width_pixels=400, frame_id=4)
    message = reader.read()
    if message.mode is not ControlMode.EMERGENCY_STOP:  # as on a machine that was away for a quarter of a second
        assert (message.steering, message.throttle, message.brake) == (0.125, 0.15, 0.0)
        assert (message.lateral_offset, message.heading_angle, message.departure_status) == (-0.05, 2.3, "CENTERED")
        assert (message.lane_width_pixels, message.frame_id, message.lateral_offset_meters) == (400.0, 4, None)
    with pytest.raises(ValueError, match="CENTERED, DRIFT or DEPARTURE"):
        writer.write(0, 0, 0, departure_status="flying")
    with pytest.raises(ValueError, match="steering is NaN"):
        writer.write(float("nan"), 0, 0)


class TheirMode(enum.Enum):
    LANE_KEEPING = 7
    EMERGENCY_STOP = 8
    PARKING = 9


@dataclass
class TheirControl:
    steering: float = 0.3
    throttle: float = 0.5
    brake: float = 0.0
    mode: TheirMode = TheirMode.LANE_KEEPING
    lateral_offset: float | None = None
    heading_angle: float | None = None


def test_a_stale_control_is_an_emergency_stop_and_never_none(name, caplog):
    writer = SharedMemoryControlChannel(name, create=True)
    reader = SharedMemoryControlChannel(name, create=False)
    first = reader.read()
    assert (first.mode, first.throttle) == (ControlMode.EMERGENCY_STOP, 0.0), "None would be permission to drive"
    assert first.brake > 0 and "no control has arrived" in caplog.text

    def fresh():
        writer.write(TheirControl(), 5, time.time(), 1.5)
        message = reader.read()
        return message.mode is ControlMode.LANE_KEEPING and message
    wait_until(fresh, "a fresh control")
    assert "fresh again" in caplog.text
    wait_until(lambda: reader.read().mode is ControlMode.EMERGENCY_STOP, "the stop, although the writer lives")
    stop = reader.read()
    assert (stop.throttle, stop.steering, stop.brake) == (0.0, pytest.approx(0.3), 0.6)
    assert caplog.text.count("emergency stop on") >= 2
    # What was decided just now from an old frame is old.
    writer.write(TheirControl(), 6, time.time() - 10)
    assert reader.read_blocking(GENEROUS).mode is ControlMode.EMERGENCY_STOP
    # Nothing answers a frame of the future.
    writer.write(TheirControl(), 6, time.time() + 3600)
    assert reader.read_blocking(GENEROUS).mode is ControlMode.EMERGENCY_STOP
    with pytest.raises(ValueError, match="mode is"):
        writer.write(TheirControl(mode=TheirMode.PARKING), 7, time.time())
    writer.write(ControlMessage(mode=TheirMode.EMERGENCY_STOP, brake=0.9), 8, time.time())
    assert reader.read_blocking(GENEROUS).mode is ControlMode.EMERGENCY_STOP


def test_a_control_whose_writer_is_gone_is_an_emergency_stop(name):
    with ControlWriter(name) as writer:
        writer.write(Control("lane_keeping", throttle=0.5, brake=0, timestamp=lkas_channels.now()))
    reader = ControlChannel(name, create=False)
    wait_until(lambda: reader.read().mode is ControlMode.EMERGENCY_STOP, "the stop")
    assert reader.read().throttle == 0.0


def test_with_programs_of_the_modern_names(name):
    """One side by the old names, the other by the new ones, in both directions."""
    old = ImageChannel(name, create=True, width=64, height=48)
    with ImageReader(name) as modern:
        old.write(solid(1), frame_id=1)
        assert modern.wait(GENEROUS)
        with modern.take() as frame:
            assert 0 <= lkas_channels.now() - frame.timestamp < GENEROUS, "on the channels' clock"
    old.close()
    reader = ImageChannel(name, create=False)
    with ImageWriter(name, SHAPE) as modern:
        modern.write(solid(2), 2)
        assert abs(reader.read_blocking(GENEROUS).timestamp - time.time()) < GENEROUS
    reader.close()


def test_programs_of_the_same_shape_as_the_document(name, base_port):
    """The examples `compat_detection_server` and `compat_system`, with a camera, a decision and a viewer."""
    import zmq
    from compat_detection_server import DetectionServer
    from compat_system import System

    camera = ImageChannel(name, create=True, width=64, height=48)
    controls = ControlChannel(name + ".c", create=True)
    server = DetectionServer(name, name + ".d", f"tcp://localhost:{base_port + 3}")
    system = System(name, name + ".d", name + ".c", f"tcp://127.0.0.1:{base_port}")
    context = zmq.Context()
    viewer = context.socket(zmq.SUB)
    viewer.connect(f"tcp://localhost:{base_port}")
    for topic in (b"frame", b"detection"):
        viewer.subscribe(topic)
    tuner = context.socket(zmq.PUB)
    tuner.connect(f"tcp://localhost:{base_port + 2}")
    image = solid(0).copy()
    image[30:, 10] = image[30:, 50] = 200
    got: dict[bytes, list[bytes]] = {}
    number = 0

    def turn():
        nonlocal number
        number += 1
        camera.write(image, frame_id=number)
        controls.write(0.1, 0.2, 0.0)
        server.step()
        system.step()
        tuner.send_multipart([b"parameter", b'{"category": "detection", "parameter": "canny_high", "value": 180.0}'])
        while viewer.poll(0):
            topic, *parts = viewer.recv_multipart()
            got[topic] = parts
        return len(got) == 2 and server.detector.threshold == 180 and dict(system.seen).get("steering") == 0.1

    wait_until(turn, "a frame, a detection, a parameter and a control")
    assert got[b"frame"][1].startswith(b"\xff\xd8"), "a JPEG"
    assert b'"x1":10.0' in got[b"detection"][0] and b'"x1":50.0' in got[b"detection"][0]
    viewer.close(0)
    tuner.close(0)
    context.term()
    system.close()
    server.stop()
    camera.unlink()
    controls.unlink()
