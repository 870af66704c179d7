"""Forks, other processes, and their deaths."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from conftest import GENEROUS, SHAPE, solid, wait_until

from lkas_channels import (
    Control,
    ControlReader,
    ControlSupervisor,
    ControlWriter,
    Detection,
    DetectionReader,
    DetectionWriter,
    Forked,
    ImageReader,
    ImageWriter,
    Lane,
    NoChannel,
    WriterExists,
)


def uses(name):
    """Each handle with what it does, all in use."""
    writer, reader = ImageWriter(name, SHAPE), ImageReader(name)
    writer.write(solid(1), 1)
    frame = reader.take()
    controls, control_reader = ControlWriter(name + ".c"), ControlReader(name + ".c")
    supervisor = ControlSupervisor(name + ".c")
    handles = [writer, reader, frame, controls, control_reader, supervisor]
    return handles, [
        lambda: writer.write(solid(2), 2),
        lambda: writer.sequence,
        reader.take,
        reader.latest,
        lambda: reader.wait(0),
        lambda: reader.missed,
        lambda: frame.image,
        frame.copy,
        frame.is_whole,
        lambda: memoryview(frame),
        lambda: controls.write(Control()),
        control_reader.take,
        control_reader.latest,
        lambda: supervisor.next(0),
        lambda: supervisor.decide(True),
    ]


def test_handles_in_a_forked_child_say_so(name):
    handles, actions = uses(name)
    # A thread that waits, and so holds the handle's lock at the fork.
    thread = threading.Thread(target=handles[1].wait)
    thread.start()
    child = os.fork()
    if child == 0:
        wrong = 1
        try:
            for action in actions:
                try:
                    action()
                except Forked as why:
                    assert "forked" in str(why)
                else:
                    raise AssertionError("no error")
            for handle in handles:
                handle.close()
            handles.clear()
            actions.clear()
            # The child opens channels of its own.
            with ImageReader(name) as own:
                assert own.take().frame_id == 1
            wrong = 0
        except BaseException as why:
            print(repr(why), file=sys.stderr, flush=True)
        finally:
            os._exit(wrong)
    end = time.monotonic() + GENEROUS
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    assert os.waitstatus_to_exitcode(status[1]) == 0
    # The parent's roles are its own still.
    handles[1].close()
    thread.join()
    handles[0].write(solid(3), 3)
    assert (handles[2].image == 1).all()
    with pytest.raises(WriterExists):
        ImageWriter(name, SHAPE, grace=0)


def answer(name):
    """In a child: takes frames and answers each by a detection."""
    with ImageReader(name, wait=GENEROUS) as frames, DetectionWriter(name + ".d") as detections:
        for frame in frames.frames(timeout=GENEROUS):
            line = Lane(int(frame.image[0, 0, 0]), 2, 3, 4)
            detections.write(Detection(left=line, frame_id=frame.frame_id))
            if frame.frame_id == 50:
                break


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(name, method):
    context = multiprocessing.get_context(method)
    writer = ImageWriter(name, SHAPE)
    writer.write(solid(0), 0)
    child = context.Process(target=answer, args=(name,))
    child.start()
    detections = DetectionReader(name + ".d", wait=GENEROUS)
    for number in range(1, 51):
        writer.write(solid(number), number)
        wait_until(lambda: (found := detections.latest()) and found.frame_id == number, "an answer")
        assert detections.latest().left.x1 == number
    child.join(GENEROUS)
    assert child.exitcode == 0
    # No resource tracker has touched the segments.
    assert os.path.exists(f"/dev/shm/{name}") and ImageReader(name).latest().frame_id == 50


def test_an_open_that_waits_finds_a_channel_that_comes_later(name, process):
    child = process(
        "import sys; from lkas_channels import ImageReader; print('up', flush=True);"
        "r = ImageReader(sys.argv[1], wait=60); r.wait(60); print(r.take().frame_id)",
        name,
    )
    assert child.stdout.readline() == "up\n"
    with ImageWriter(name, SHAPE) as writer:
        writer.write(solid(1), 1)
        assert child.communicate(timeout=GENEROUS)[0] == "1\n"
    with pytest.raises(NoChannel):
        ImageReader(name + "-nowhere", wait=0.05)


@pytest.mark.parametrize(
    "waiting",
    ["ImageReader(name).wait()", "next(ImageReader(name).frames())", "ImageReader(name + '-nowhere', wait=1000)",
     "ControlReader(name + '.c').wait(1000)", "ControlSupervisor(name + '.c').next(1000)", "ControlWriter(name + '.c', grace=1000)",
     "ImageWriter(name, (48, 64, 3), grace=1000)"],
)
def test_ctrl_c_ends_every_wait(name, process, waiting):
    with ImageWriter(name, SHAPE), ControlWriter(name + ".c"):
        child = process(
            "import signal, sys; from lkas_channels import *\n"
            "name = sys.argv[1]\n"
            # A shell starts what is to run in the background with this signal ignored.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"try:\n    print('up', flush=True)\n    {waiting}\nexcept KeyboardInterrupt:\n    print('interrupted')",
            name,
        )
        assert child.stdout.readline() == "up\n"
        # Whenever it comes: before the wait or in it.
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=GENEROUS)
        assert out == "interrupted\n", err


WRITERS = {
    "image": (
        "w = ImageWriter(name, (48, 64, 3), readers=2); write = lambda n: w.write(np.full((48, 64, 3), n % 256, np.uint8), n)",
        lambda name: ImageReader(name, wait=GENEROUS),
        lambda frame: bool((frame.image == frame.frame_id % 256).all()) and frame.is_whole(),
    ),
    "detection": (
        "w = DetectionWriter(name, readers=2); write = lambda n: w.write(Detection(left=Lane(n, n, n, n), frame_id=n))",
        lambda name: DetectionReader(name, wait=GENEROUS),
        lambda found: found.left.x1 == found.frame_id == found.left.y2,
    ),
    "control": (
        "w = ControlWriter(name, readers=2)\n"
        "write = lambda n: w.write(Control('manual', steering=n % 8 / 8, throttle=n % 8 / 8, brake=0, frame_id=n))",
        lambda name: ControlReader(name, wait=GENEROUS),
        lambda found: found.steering == found.throttle == found.frame_id % 8 / 8,
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_is_killed_again_and_again(name, process, kind):
    """SIGKILL of the writer: readers see whole values, and a successor goes on with the sequence."""
    lines, open_reader, is_whole = WRITERS[kind]
    lines = (
        "import itertools, sys, numpy as np\nfrom lkas_channels import *\nname = sys.argv[1]\n"
        f"{lines}\n"
        "for n in itertools.count(int(sys.argv[2])):\n    write(n)\n"
    )
    reader, last = None, 0
    for turn in range(4):
        child = process(lines, name, str(last + 1))
        reader = reader or open_reader(name)
        seen = 0
        while seen < 25:
            assert reader.wait(GENEROUS), child.poll()
            value = reader.take()
            if value is None:
                continue
            assert is_whole(value), value
            # What the predecessor published last may be older than what its successor was told to begin with.
            seen += value.frame_id > last
            newest = value.frame_id
        child.kill()
        child.wait()
        wait_until(lambda: not reader.writer_alive, "the role's end")
        last = max(last, newest) + 100_000
    reader.close()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_reader_is_killed_again_and_again(name, process, kind):
    """SIGKILL of the reader, whatever it holds: its place is free, and the writer never waits."""
    classes = {"image": "ImageReader", "detection": "DetectionReader", "control": "ControlReader"}
    lines = (
        "import sys\nfrom lkas_channels import *\n"
        f"reader = {classes[kind]}(sys.argv[1], wait=60)\n"
        "kept = None\n"
        "while True:\n"
        "    if reader.wait(60):\n"
        "        value = reader.take()\n"
        "        kept = value.image if hasattr(value, 'image') else value\n"
        "        print(value.frame_id, flush=True)\n"
    )
    namespace: dict = {"np": np, "name": name}
    exec("from lkas_channels import *\n" + WRITERS[kind][0], namespace)
    number = 0
    for _turn in range(4):
        child = process(lines, name)
        seen = threading.Event()
        thread = threading.Thread(target=lambda: child.stdout.readline() and seen.set())
        thread.start()
        while not seen.is_set():
            number += 1
            namespace["write"](number)
            assert child.poll() is None, child.communicate()
            time.sleep(0.001)
        thread.join()
        child.kill()
        child.wait()
        for _ in range(20):
            number += 1
            namespace["write"](number)
    reader = WRITERS[kind][1](name)
    assert WRITERS[kind][2](reader.latest()) and reader.latest().frame_id == number
    namespace["w"].close()


def test_a_suspended_reader_stops_nobody(name, process):
    with ImageWriter(name, SHAPE, readers=4) as writer, ImageReader(name) as reader:
        child = process(
            "import sys; from lkas_channels import ImageReader\n"
            "for frame in ImageReader(sys.argv[1]).frames(): print(frame.frame_id, flush=True)",
            name,
        )
        writer.write(solid(1), 1)
        assert child.stdout.readline() == "1\n"
        child.send_signal(signal.SIGSTOP)
        for number in range(2, 100):
            writer.write(solid(number), number)
            with reader.take() as frame:
                assert frame.frame_id == number
        child.send_signal(signal.SIGCONT)
        assert child.stdout.readline() in {"2\n", "99\n"}


def test_no_resource_tracker_is_started(name, process):
    child = process(
        "import sys\nfrom lkas_channels import ImageReader, ImageWriter\nimport lkas.integration.shared_memory\n"
        "w = ImageWriter(sys.argv[1], (4, 4, 3)); r = ImageReader(sys.argv[1])\n"
        "print('multiprocessing.resource_tracker' in sys.modules)",
        name,
    )
    out, err = child.communicate(timeout=GENEROUS)
    assert (out, err) == ("False\n", "")


def test_the_wheel_is_refused_by_free_threaded_interpreters():
    """Its tag is that of the stable ABI, which free-threaded interpreters do not have."""
    import importlib.metadata

    wheel = importlib.metadata.distribution("lkas").read_text("WHEEL")
    tags = [line.removeprefix("Tag: ") for line in wheel.splitlines() if line.startswith("Tag: ")]
    assert tags and all(tag.startswith("cp311-abi3-") for tag in tags)
    from packaging.tags import cpython_tags

    free = {str(tag) for tag in cpython_tags((3, 14), abis=["cp314t"], platforms=["linux_x86_64"])}
    assert not free & set(tags)


def test_a_fresh_interpreter_imports_without_numpy(process):
    """numpy is needed for arrays, not for controls."""
    child = process(
        "import sys; sys.modules['numpy'] = None\n"
        "from lkas_channels import Control\nfrom lkas.integration.shared_memory import ControlChannel\nprint(Control().brake)"
    )
    out, err = child.communicate(timeout=GENEROUS)
    assert (out, err) == ("1.0\n", "")




def test_a_subinterpreter_is_refused(process):
    pytest.importorskip("_xxsubinterpreters")
    child = process(
        "import _xxsubinterpreters as interpreters\n"
        "try:\n    interpreters.run_string(interpreters.create(), 'import lkas_channels')\n"
        "except interpreters.RunFailedError as why:\n    print(why)\n"
        "import lkas_channels; print('here')",
    )
    out, err = child.communicate(timeout=GENEROUS)
    assert "ImportError" in out and out.endswith("here\n"), out + err
