"""The mixed system: simulation, broker and viewer in Rust, detection and decision in Python with OpenCV.

Needs the programs of this repository, built: in the folder that LKAS_PROGRAMS names, or in target/.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until

from lkas_channels import Channel, ControlReader, ImageReader, InUse, Mode, channels, unlink

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: How long the system drives, in seconds.
DURATION = 20.0


def programs() -> Path | None:
    target = Path(__file__).resolve().parents[2] / "target"
    places = [Path(os.environ["LKAS_PROGRAMS"])] if "LKAS_PROGRAMS" in os.environ else [target / "release", target / "debug"]
    return next((place for place in places if (place / "lkas").exists() and (place / "simulation").exists()), None)


needs_programs = pytest.mark.skipif(
    programs() is None and "LKAS_REQUIRE_PROGRAMS" not in os.environ,
    reason="LEFT OUT: the programs are not built; cargo build --release",
)


@needs_programs
def test_the_car_stays_in_its_lane(base_port):
    import zmq

    folder = programs()
    assert folder is not None, "the programs are not built: cargo build -p lkas"
    namespace = f"pytest-system-{os.getpid()}"
    viewer_port = base_port + 7
    system = ["--namespace", namespace, "--broker-port", str(base_port)]
    commands = {
        "broker": [folder / "lkas", "broker", *system],
        "simulation": [folder / "simulation", "--broadcast", *system],
        "viewer": [folder / "viewer", "--port", str(viewer_port), *system],
        "detection": [sys.executable, EXAMPLES / "detection.py", *system],
        "decision": [sys.executable, EXAMPLES / "decision.py", *system],
    }
    running = {name: subprocess.Popen(command, stderr=subprocess.PIPE) for name, command in commands.items()}
    context = zmq.Context()
    viewer = context.socket(zmq.SUB)
    viewer.connect(f"tcp://localhost:{base_port}")
    viewer.subscribe(b"")
    topics: set[bytes] = set()
    torn, controls_seen, modes = 0, 0, set()
    try:
        controls = ControlReader("vehicle_control", namespace=namespace, wait=60)
        frames = ImageReader("camera_feed", namespace=namespace, wait=60, places=1)
        wait_until(lambda: (c := controls.latest()) and c.mode is Mode.LANE_KEEPING, "the car to drive")
        wait_until(lambda: serves(viewer_port), "the page")
        end = time.monotonic() + DURATION
        while time.monotonic() < end:
            for name, child in running.items():
                assert child.poll() is None, f"{name} ended: {child.stderr.read().decode()}"
            frames.wait(0.1)
            frame = frames.take()
            if frame is not None:
                torn += not frame.is_whole()
                frame.close()
            if (control := controls.take()) is not None:
                controls_seen += 1
                modes.add(control.mode)
            while viewer.poll(0):
                topics.add(viewer.recv_multipart()[0])
        simulation, broker = (status(namespace, process) for process in ("simulation", "broker"))
        damaged = controls.damaged
        frames.close()
        controls.close()
    finally:
        said = {}
        for child in running.values():
            child.send_signal(signal.SIGTERM)
        for name, child in running.items():
            said[name] = child.communicate(timeout=30)[1].decode()
        viewer.close(0)
        context.term()
        for name in channels():
            if name.startswith(namespace):
                with contextlib.suppress(InUse):
                    unlink(name)
    assert torn == damaged == simulation("torn") == broker("torn") == 0, said
    # A vehicle 1.8 m wide leaves a lane of 3.5 m at 0.85 m.
    assert 0 < simulation("offset_max_abs_m") < 0.85, said
    assert simulation("speed_kmh") > 5, said
    assert controls_seen > 3 * DURATION and Mode.LANE_KEEPING in modes
    assert {b"frame", b"detection", b"state"} <= topics


def serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            return page.status == 200
    except OSError:
        return False


def status(namespace: str, process: str) -> Callable[[str], float]:
    """What a process says of itself, by the last part of a field's name."""
    with Channel(f"status_{process}", namespace=namespace).open(wait=60) as reader:
        wait_until(lambda: reader.latest() is not None, f"the status of the {process}")
        record = reader.latest()

    def field(name: str) -> float:
        (found,) = [whole for whole in record.dtype.names if whole.split(".")[-1] == name]
        return float(record[found])

    return field
