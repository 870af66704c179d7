"""The bridge to CARLA, against a scripted world; and that world's names, against the real package."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from pathlib import Path

import pytest
import scripted_carla
from conftest import wait_until

from lkas_channels import Broker, Control, ControlWriter, ImageReader, Mode, now, unlink

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))


def test_the_bridge_drives_a_vehicle(name, base_port, capsys):
    import zmq
    from carla_bridge import Bridge

    world = scripted_carla._world
    bridge = Bridge(scripted_carla, namespace=name, width=64, height=48, fps=100, broker_port=base_port)
    vehicle, camera = world._actors
    context = zmq.Context()
    asking, viewer = context.socket(zmq.PUB), context.socket(zmq.SUB)
    asking.connect(f"tcp://localhost:{base_port + 1}")
    viewer.connect(f"tcp://localhost:{base_port}")
    viewer.subscribe(b"state")
    with Broker(base_port=base_port) as broker, ControlWriter("vehicle_control", namespace=name) as controls:
        for action in ("pause", "resume", "respawn"):
            broker.register_action(action)
        frames = ImageReader("camera_feed", namespace=name, wait=10)
        states = []

        def turn(control=None, ask=None):
            if control:
                controls.write(dataclasses.replace(control, timestamp=now()))
            if ask:
                asking.send_multipart([b"action", b'{"action": "%s"}' % ask])
            bridge.step()
            broker.poll()
            while viewer.poll(0):
                states.append(viewer.recv_multipart()[1])

        # Nothing moves before the first control.
        for _ in range(5):
            turn()
        assert vehicle._speed == 0 and vehicle._control.brake > 0
        with frames.latest() as frame:
            assert frame.shape == (48, 64, 3) and frame.image[0, 0].tolist() == [30, 20, 10], "RGB"
            assert 0 <= now() - frame.timestamp

        drive = Control(Mode.LANE_KEEPING, steering=0.25, throttle=0.5, brake=0.0)
        wait_until(lambda: turn(drive) or vehicle._speed > 2, "the vehicle to drive")
        assert vehicle._control == scripted_carla.VehicleControl(0.5, 0.25, 0.0)
        wait_until(lambda: turn(drive) or any(b'"steering":0.25' in state for state in states), "its status")

        # Paused: time stands still, frames go on.
        wait_until(lambda: turn(drive, b"pause") or bridge.paused, "the pause")
        ticks, sequence = world._ticks, frames.latest().sequence
        for _ in range(5):
            turn(drive)
        assert world._ticks == ticks and frames.latest().sequence == sequence + 5
        wait_until(lambda: turn(drive, b"resume") or not bridge.paused, "the end of the pause")
        wait_until(lambda: turn(drive) or world._ticks > ticks, "a tick")

        # Controls stop: so does the vehicle, and says so.
        wait_until(lambda: turn() or vehicle._speed == 0, "the standstill")
        wait_until(lambda: turn() or "standing still" in (said := said_so_far(capsys)) and "safe stop" in said, "words")
        turn(ask=b"respawn")
        wait_until(lambda: turn(ask=b"respawn") or vehicle._x == 100.0, "the start")
        frames.close()
    bridge.close()
    assert not vehicle._alive and not camera._alive and camera._listener is None
    assert world._settings == scripted_carla.WorldSettings()
    asking.close(0)
    viewer.close(0)
    context.term()
    for channel in ("camera_feed", "vehicle_control"):
        unlink(channel, namespace=name)


SAID: list[str] = []


def said_so_far(capsys) -> str:
    SAID.append(capsys.readouterr().out)
    return "".join(SAID)


def scripted_classes():
    return {
        name: one for name, one in vars(scripted_carla).items() if inspect.isclass(one) and one.__module__ == "scripted_carla"
    }


def names_of(one: type) -> set[str]:
    fields = {field.name for field in dataclasses.fields(one)} if dataclasses.is_dataclass(one) else set()
    return {name for name in vars(one) if not name.startswith("_")} | fields


def test_the_scripted_world_has_all_that_the_bridge_uses():
    """What the bridge takes from CARLA's objects is what the scripted classes have, or its own."""
    tree = ast.parse((EXAMPLES / "carla_bridge.py").read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    known = set().union(*(names_of(one) for one in scripted_classes().values())) | set(scripted_classes())
    from_carla = {
        "apply_control", "apply_settings", "destroy", "filter", "find", "fixed_delta_seconds", "get_blueprint_library",
        "get_map", "get_settings", "get_spawn_points", "get_transform", "get_velocity", "get_world", "height", "listen",
        "location", "raw_data", "rotation", "set_attribute", "set_target_velocity", "set_timeout", "set_transform",
        "spawn_actor", "stop", "synchronous_mode", "tick", "width",
    }
    assert from_carla <= used & known


def test_the_real_package_has_every_name():
    carla = pytest.importorskip("carla", reason="LEFT OUT: the package carla is not installed")
    missing = [
        f"{name}.{attribute}"
        for name, one in scripted_classes().items()
        for attribute in names_of(one)
        if not hasattr(getattr(carla, name, None), attribute)
    ]
    assert not missing
    # What the bridge makes itself, it can make of the real ones.
    carla.VehicleControl(throttle=0.5, steer=0.25, brake=0.0)
    carla.Transform(carla.Location(x=1.6, z=1.4), carla.Rotation(pitch=-5.0))
    carla.Vector3D(0.0, 0.0, 0.0)
    assert carla.Client("localhost", 2000) is not None
