"""Both directions of every channel between Rust and Python, with SIGKILL of either side.

Needs the programs of this repository, as the mixed system does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GENEROUS, wait_until
from test_system import EXAMPLES, needs_programs, programs, status

from lkas_channels import ControlReader, DetectionReader, ImageReader, InUse, channels, unlink

#: How often either side of a channel is killed.
KILLS = 10
#: Films a road that stands still, as wide as the other programs expect it.
CAMERA = """
import sys, time, numpy as np
from lkas_channels import ImageWriter
image = np.zeros((600, 800, 3), np.uint8)
with ImageWriter("camera_feed", image.shape, namespace=sys.argv[1]) as camera:
    number = 0
    while True:
        number += 1
        image[:] = number % 256
        camera.write(image, number)
        time.sleep(0.02)
"""
#: Takes what the vehicle is to do.
VEHICLE = """
import sys
from lkas_channels import ControlReader
controls = ControlReader("vehicle_control", namespace=sys.argv[1], wait=60)
while True:
    controls.wait(1)
    controls.take()
"""


class Programs:
    """Processes of one namespace, each by its name, that can be killed and started again."""

    def __init__(self, namespace: str, commands: dict[str, list[object]]) -> None:
        self.namespace = namespace
        self.commands = commands
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for name in commands:
            self.start(name)

    def start(self, name: str) -> None:
        self.running[name] = subprocess.Popen([str(part) for part in self.commands[name]], stderr=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        child = self.running[name]
        assert child.poll() is None, f"{name} ended by itself"
        child.kill()
        child.wait()

    def end(self) -> None:
        for child in self.running.values():
            child.send_signal(signal.SIGTERM)
        for child in self.running.values():
            try:
                child.wait(GENEROUS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for name in channels():
            if name.startswith(self.namespace):
                with contextlib.suppress(InUse):
                    unlink(name)


def rust(program: str, namespace: str) -> list[object]:
    folder = programs()
    assert folder is not None, "the programs are not built: cargo build -p lkas"
    return [folder / "lkas", program, "--namespace", namespace]


def python(example: str, namespace: str) -> list[object]:
    return [sys.executable, EXAMPLES / f"{example}.py", "--namespace", namespace]


def script(lines: str) -> Callable[[str, str], list[object]]:
    return lambda _name, namespace: [sys.executable, "-c", lines, namespace]


#: What runs, in which language; and of each channel between two languages who writes and who reads it.
ARRANGEMENTS = {
    "detection in Python": (
        {"simulation": rust, "detection": python, "decision": rust},
        {"camera_feed": ("simulation", "detection"), "lane_detection": ("detection", "decision")},
    ),
    "decision in Python": (
        {"simulation": rust, "detection": rust, "decision": python},
        {"lane_detection": ("detection", "decision"), "vehicle_control": ("decision", "simulation")},
    ),
    "camera and vehicle in Python": (
        {"camera": script(CAMERA), "detection": rust, "decision": rust, "vehicle": script(VEHICLE)},
        {"camera_feed": ("camera", "detection"), "vehicle_control": ("decision", "vehicle")},
    ),
}


@pytest.fixture
def arranged() -> Iterator[Callable[[str], Programs]]:
    started: list[Programs] = []

    def arrange(which: str) -> Programs:
        namespace = f"pytest-languages-{os.getpid()}-{list(ARRANGEMENTS).index(which)}"
        commands = {
            name: make(name, namespace) for name, make in ARRANGEMENTS[which][0].items()
        }
        started.append(Programs(namespace, commands))
        return started[-1]

    yield arrange
    for one in started:
        one.end()


@needs_programs
@pytest.mark.parametrize("which", ARRANGEMENTS)
def test_either_side_of_a_channel_between_languages_is_killed(arranged, which):
    """Whoever dies, the other side goes on by itself: nothing is torn, nothing stays held, sequences never go back."""
    system = arranged(which)
    namespace = system.namespace
    # This process looks at every frame, detection and control, so that all of them are checked.
    frames = ImageReader("camera_feed", namespace=namespace, wait=60, places=1)
    detections = DetectionReader("lane_detection", namespace=namespace, wait=60)
    controls = ControlReader("vehicle_control", namespace=namespace, wait=60)
    readers = {"camera_feed": frames, "lane_detection": detections, "vehicle_control": controls}
    sequences = dict.fromkeys(readers, 0)

    def look() -> None:
        for channel, reader in readers.items():
            value = reader.take()
            if value is None:
                continue
            if channel == "camera_feed":
                assert value.is_whole(), "a torn frame"
                newest = value.sequence
                value.close()
            else:
                newest = reader.sequence
            assert newest > sequences[channel], f"{channel} went back"
            sequences[channel] = newest

    def goes_on(what: str) -> None:
        """Every channel brings something new, so that everybody reads what the one before them writes."""
        before = dict(sequences)

        def all_new() -> bool:
            look()
            return all(sequences[channel] >= before[channel] + 5 for channel in readers)

        wait_until(all_new, f"{what}: {before} then {sequences}")

    goes_on("the start")
    for channel, sides in ARRANGEMENTS[which][1].items():
        for side in sides:
            for turn in range(KILLS):
                system.kill(side)
                system.start(side)
                goes_on(f"{channel}: {side} killed for the {turn + 1}. time")
    assert all(reader.damaged == 0 for reader in (detections, controls))
    for name in system.commands:
        assert system.running[name].poll() is None, f"{name} ended by itself"
    if "simulation" in system.commands:
        assert status(namespace, "simulation")("torn") == 0
    for reader in readers.values():
        reader.close()
