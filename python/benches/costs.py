"""What the channels cost in Python, as ratios to the implementation that they replace.

    python costs.py [--short]

That one is written plainly below: a segment, a lock, a header packed by `struct`, a copy. Both are measured in turns in
one process on one machine, so that only the ratio says something; it is the median of several turns. Each row with a
limit fails the run where the ratio is above it. A machine that is busy with something else makes both sides slower.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Lock, shared_memory
from statistics import median

import numpy as np

from lkas_channels import Control, ControlReader, ControlWriter, ImageReader, ImageWriter, Mode, unlink

SHAPE = (600, 800, 3)


@dataclass
class PlainImage:
    image: np.ndarray
    frame_id: int
    timestamp: float


@dataclass
class PlainControl:
    steering: float
    throttle: float
    brake: float
    mode: str
    lateral_offset: float


class PlainImages:
    """Frames as they were passed before: one place, a lock, two copies."""

    HEADER = struct.Struct("qdiiii")

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        size = self.HEADER.size + int(np.prod(shape))
        self.memory = shared_memory.SharedMemory(name=name, create=True, size=size)
        self.shape, self.lock = shape, Lock()
        self.header = self.memory.buf[: self.HEADER.size]
        self.pixels = np.ndarray(shape, np.uint8, buffer=self.memory.buf[self.HEADER.size :])

    def write(self, image: np.ndarray, timestamp: float, frame_id: int) -> None:
        if image.shape != self.shape:
            raise ValueError("another shape")
        with self.lock:
            np.copyto(self.pixels, image)
            height, width, channels = self.shape
            self.header[:] = self.HEADER.pack(frame_id, timestamp, width, height, channels, 1)

    def read(self) -> PlainImage | None:
        with self.lock:
            frame_id, timestamp, *_, ready = self.HEADER.unpack(bytes(self.header))
            return PlainImage(np.copy(self.pixels), frame_id, timestamp) if ready else None

    def close(self) -> None:
        del self.pixels, self.header
        self.memory.close()
        self.memory.unlink()


class PlainControls:
    HEADER, DATA = struct.Struct("qddii16x"), struct.Struct("dddd")

    def __init__(self, name: str) -> None:
        self.memory = shared_memory.SharedMemory(name=name, create=True, size=self.HEADER.size + self.DATA.size)
        self.lock = Lock()
        self.header = self.memory.buf[: self.HEADER.size]
        self.data = self.memory.buf[self.HEADER.size : self.HEADER.size + self.DATA.size]

    def write(self, control: PlainControl, frame_id: int, timestamp: float) -> None:
        with self.lock:
            self.header[:] = self.HEADER.pack(frame_id, timestamp, 0.0, 2, 1)
            self.data[:] = self.DATA.pack(control.steering, control.throttle, control.brake, control.lateral_offset)

    def read(self) -> PlainControl | None:
        with self.lock:
            _, _, _, mode, ready = self.HEADER.unpack(bytes(self.header))
            if not ready:
                return None
            steering, throttle, brake, offset = self.DATA.unpack(bytes(self.data))
            return PlainControl(steering, throttle, brake, "lane_keeping" if mode == 2 else "manual", offset)

    def close(self) -> None:
        del self.header, self.data
        self.memory.close()
        self.memory.unlink()


def cost(work: Callable[[], object], count: int) -> float:
    """Seconds for each call."""
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count


def row(
    what: str, ours: Callable[[], object], theirs: Callable[[], object], count: int, turns: int, limit: float | None
) -> bool:
    found = [(cost(ours, count), cost(theirs, count)) for _ in range(turns)]
    ratio = median(one / other for one, other in found)
    one, other = (median(side) for side in zip(*found, strict=True))
    verdict = "" if limit is None else f"  (limit {limit:g}x{', MISSED' if ratio > limit else ''})"
    print(f"{what:<44} {one * 1e6:>9.2f} us  {other * 1e6:>9.2f} us  {ratio:>6.3f}x{verdict}")
    return limit is None or ratio <= limit


def numbers(control: Control | PlainControl | None) -> tuple[float, float, float]:
    assert control is not None
    return control.steering, control.throttle, control.brake


def main() -> int:
    short = "--short" in sys.argv[1:]
    turns = 5 if short else 15
    name = f"costs-{os.getpid()}"
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    writer, reader = ImageWriter(name, SHAPE), ImageReader(name)
    unchecked = ImageWriter(name + ".unchecked", SHAPE, checked=False)
    controls, control_reader = ControlWriter(name + ".c"), ControlReader(name + ".c")
    plain, plain_controls = PlainImages(name + ".plain", SHAPE), PlainControls(name + ".plain.c")
    control = Control(Mode.LANE_KEEPING, steering=0.1, throttle=0.2, brake=0.0)
    plain_control = PlainControl(0.1, 0.2, 0.0, "lane_keeping", 0.0)
    target = np.empty_like(image)
    # Who keeps the newest frame whole while the last is read copies to another place each time: two more than readers.
    slots = itertools.cycle([np.empty_like(image) for _ in range(10)])

    def fresh(use: Callable[[object], object]) -> Callable[[], object]:
        def work() -> object:
            writer.write(image, 1)
            return use(reader.take())

        return work

    def plain_fresh() -> object:
        plain.write(image, 1.0, 1)
        return plain.read()

    writer.write(image, 1)
    reader.take()
    controls.write(control)
    plain.write(image, 1.0, 1)
    plain_controls.write(plain_control, 1, 1.0)
    frames, small = (100, 20_000) if short else (300, 100_000)
    print(f"{'':<44} {'channels':>12}  {'replaced':>12}  {'ratio':>7}")
    good = [
        row("read of a control", control_reader.latest, plain_controls.read, small, turns, 0.5),
        row("read of a control and its three numbers", lambda: numbers(control_reader.latest()),
            lambda: numbers(plain_controls.read()), small, turns, 1.0),
        row("write of a control", lambda: controls.write(control), lambda: plain_controls.write(plain_control, 1, 1.0),
            small, turns, 0.5),
        row("take of a frame, with nothing new", reader.take, plain.read, frames, turns, 0.1),
        row("frame written and seen as an array", fresh(lambda frame: frame.image), plain_fresh, frames, turns, None),
        row("frame written and copied out", fresh(lambda frame: frame.copy()), plain_fresh, frames, turns, None),
        row("write of a frame", lambda: writer.write(image, 1), lambda: plain.write(image, 1.0, 1), frames, turns, None),
        row("write of a frame, against a bare copy", lambda: writer.write(image, 1), lambda: np.copyto(target, image),
            frames, turns, None),
        row("the same, into as many arrays as slots", lambda: writer.write(image, 1),
            lambda: np.copyto(next(slots), image), frames, turns, None),
        row("one without a check value, against a bare copy", lambda: unchecked.write(image, 1),
            lambda: np.copyto(target, image), frames, turns, None),
    ]
    for handle in (writer, reader, unchecked, controls, control_reader, plain, plain_controls):
        handle.close()
    unlink(name)
    unlink(name + ".c")
    unlink(name + ".unchecked")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
