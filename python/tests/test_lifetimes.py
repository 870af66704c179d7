"""Each row of the table of lifetimes: what keeps a frame as it is, and for how long."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from conftest import GENEROUS, SHAPE, solid, wait_until

from lkas_channels import (
    Channel,
    ChannelError,
    ControlReader,
    ControlSupervisor,
    ControlWriter,
    DetectionReader,
    DetectionWriter,
    ImageReader,
    ImageWriter,
    NoPlace,
    Released,
    unlink,
)


@pytest.fixture(params=[True, False], ids=["checked", "unchecked"])
def pair(name, request):
    with ImageWriter(name, SHAPE, readers=2, checked=request.param) as writer, ImageReader(name) as reader:
        yield writer, reader


def storm(writer, count=40):
    """So many frames that every slot is written to again that may be."""
    for number in range(count):
        writer.write(solid(100 + number), 1000 + number)


def test_a_frame_is_what_was_written(pair):
    writer, reader = pair
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    assert reader.take() is None and reader.latest() is None
    writer.write(image, 7, timestamp=12.5)
    with reader.take() as frame:
        assert (frame.frame_id, frame.timestamp, frame.sequence) == (7, 12.5, 1)
        assert frame.shape == SHAPE == reader.shape == frame.image.shape
        assert frame.image.dtype == np.uint8 and not frame.image.flags.writeable
        assert (frame.image == image).all() and frame.is_whole() and frame.age >= 0
        assert (np.asarray(frame) == image).all() and bytes(memoryview(frame)) == image.tobytes()
        copy = frame.copy()
        copy[0] = 0  # one's own
    assert reader.take() is None, "each at most once"
    assert reader.latest().frame_id == 7


def test_what_was_not_taken_is_counted_as_missed(pair):
    writer, reader = pair
    for number in range(3):
        writer.write(solid(number), number)
    assert reader.take().sequence == 3 and reader.missed == 0, "what came before the first is not missed"
    writer.write(solid(3), 3)
    assert reader.take().sequence == 4 and reader.missed == 0
    for number in range(5):
        writer.write(solid(number), number)
    assert reader.take().sequence == 9 and reader.missed == 4


def test_leaving_a_frame_never_raises_and_closes_it(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    with reader.take() as frame:
        kept = frame.image
    assert frame.closed
    for use in (lambda: frame.image, frame.copy, frame.is_whole, lambda: np.asarray(frame), lambda: memoryview(frame)):
        with pytest.raises(Released):
            use()
    storm(writer)
    assert (kept == 1).all(), "a view that is left keeps the slot"
    frame.close()


def test_a_frame_without_views_is_free_once_closed(pair):
    writer, reader = pair
    frames = []
    for number in range(10):
        writer.write(solid(number), number)
        frames.append(reader.take())
        frames[-1].close()
    assert reader.pinned == 0


@pytest.mark.parametrize(
    "cut",
    [
        lambda image: image[3:5],
        lambda image: image[::2, ::3, 1],
        lambda image: image.reshape(-1)[7:],
        lambda image: image.T,
        lambda image: memoryview(image)[1:2],
        lambda image: np.lib.stride_tricks.sliding_window_view(image, (2, 2, 1)),
    ],
    ids=["rows", "strided", "flat", "transposed", "memoryview", "windows"],
)
def test_slice_kept(pair, cut):
    writer, reader = pair
    writer.write(solid(1), 1)
    kept = cut(reader.take().image)
    before = np.array(kept)
    storm(writer)
    gc.collect()
    assert (np.array(kept) == before).all()
    assert reader.pinned == 1
    del kept
    assert reader.pinned == 0


def test_all_places_pinned_is_an_error_and_no_recycled_frame(pair):
    writer, reader = pair
    kept = []
    for number in (1, 2):
        writer.write(solid(number), number)
        kept.append(reader.take().image)
    assert reader.take() is None, "nothing new is no error"
    writer.write(solid(3), 3)
    for use in (reader.take, reader.latest):
        with pytest.raises(BufferError, match="all 2 frames"):
            use()
    storm(writer)
    assert (kept[0] == 1).all() and (kept[1] == 2).all()
    del kept[0]
    assert reader.take().frame_id == 1039


def test_more_places_keep_more_frames(name):
    with ImageWriter(name, SHAPE) as writer, ImageReader(name, places=5) as reader:
        kept = []
        for number in range(5):
            writer.write(solid(number), number)
            kept.append(reader.take().image)
        storm(writer)
        assert [int(image[0, 0, 0]) for image in kept] == [0, 1, 2, 3, 4]
        with pytest.raises(NoPlace, match="all 8 reader places"):
            ImageReader(name, places=4)
        assert ImageReader(name, places=3).take() is not None, "places that were not got are given back"


def test_reader_dropped(name):
    writer = ImageWriter(name, SHAPE, readers=2)
    reader = ImageReader(name)
    gone = weakref.ref(reader)
    writer.write(solid(1), 1)
    kept = reader.take().image
    del reader
    gc.collect()
    assert gone() is None
    storm(writer)
    assert (kept == 1).all(), "arrays outlive their reader"
    with pytest.raises(NoPlace):
        ImageReader(name)  # one place is pinned
    del kept
    ImageReader(name).close()
    writer.close()


def test_reader_closed(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    kept = reader.take().image
    reader.close()
    reader.close()
    storm(writer)
    assert (kept == 1).all()
    for use in (reader.take, reader.latest, lambda: reader.wait(0), lambda: reader.missed):
        with pytest.raises(Released):
            use()
    assert list(reader.frames()) == []


def test_writer_dropped(name):
    writer = ImageWriter(name, SHAPE)
    reader = ImageReader(name)
    writer.write(solid(1), 1)
    kept = reader.take().image
    assert reader.writer_alive
    del writer
    assert not reader.writer_alive
    assert (kept == 1).all() and (reader.latest().image == 1).all()
    with ImageWriter(name, SHAPE) as successor:
        storm(successor)
        assert (kept == 1).all()
        assert reader.take().sequence == 41, "the sequence goes on"


def test_del(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    frame = reader.take()
    image = frame.image
    del frame
    assert reader.pinned == 1
    del image
    assert reader.pinned == 0


def test_exception(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    kept = None
    with pytest.raises(RuntimeError, match="detector"):
        with reader.take() as frame:
            kept = frame.image[1:]
            raise RuntimeError("the detector failed")
    storm(writer)
    assert (kept == 1).all() and frame.closed


def test_the_last_turns_frame_lives_while_the_next_is_taken(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    seen = []
    for frame in reader.frames(timeout=GENEROUS):
        seen.append((frame.frame_id, int(frame.image[0, 0, 0])))
        if frame.frame_id == 20:
            break
        writer.write(solid(frame.frame_id + 1), frame.frame_id + 1)
    assert seen == [(number, number) for number in range(1, 21)]


def test_generator_left_early(pair):
    writer, reader = pair
    for number in range(1, 30):
        writer.write(solid(number), number)
        for frame in reader.frames(timeout=GENEROUS):
            assert frame.frame_id == number
            break
    del frame
    gc.collect()
    assert reader.pinned == 0
    frames = reader.frames()
    writer.write(solid(30), 30)
    kept = next(frames).image
    frames.close()
    storm(writer)
    assert (kept == 30).all()


def test_thread(pair):
    """A frame that is taken in one thread and dropped in another; the reader is used by both."""
    writer, reader = pair
    writer.write(solid(1), 1)
    handed = [reader.take().image]
    found = []

    def use():
        image = handed.pop()
        found.append(bool((image == 1).all()))
        del image
        wait_until(reader.take, "a frame in the thread")

    thread = threading.Thread(target=use)
    thread.start()
    while thread.is_alive():
        storm(writer, 3)
        thread.join(0.001)
    assert found == [True]
    assert reader.pinned == 0


def test_threads_that_take_from_one_reader_see_whole_frames(name):
    with ImageWriter(name, SHAPE, readers=8) as writer, ImageReader(name, places=6) as reader:
        stop = threading.Event()
        wrong, taken = [], []

        def read():
            while not stop.is_set():
                frame = reader.take()
                if frame is not None:
                    image = frame.image
                    if (image != frame.frame_id % 256).any() or not frame.is_whole():
                        wrong.append(frame.frame_id)
                    taken.append(frame.frame_id)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        numbers = itertools.count(1)

        def write_until_enough():
            number = next(numbers)
            writer.write(solid(number), number)
            return len(taken) > 200

        try:
            wait_until(write_until_enough, "frames in threads")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not wrong
        assert len(set(taken)) == len(taken), "each at most once"


def test_waiting_ends_when_another_thread_closes_the_reader(pair):
    _writer, reader = pair
    found = []
    started = threading.Event()

    def wait():
        started.set()
        found.append(reader.wait())

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    reader.close()
    thread.join(GENEROUS)
    assert not thread.is_alive()
    # Or it was closed before the wait began.
    assert found in ([False], [])


def test_other_threads_run_while_one_waits(pair):
    _writer, reader = pair
    turns = []
    stop = threading.Event()

    def count():
        while not stop.is_set():
            turns.append(1)

    thread = threading.Thread(target=count)
    thread.start()
    wait_until(lambda: turns, "the first turn")
    before = len(turns)
    assert reader.wait(0.2) is False
    stop.set()
    thread.join()
    assert len(turns) > before


def test_asyncio(pair):
    writer, reader = pair

    async def main():
        seen = []
        writer.write(solid(1), 1)
        async for frame in reader:
            seen.append(int(frame.image[0, 0, 0]))
            if len(seen) == 10:
                break
            writer.write(solid(len(seen) + 1), len(seen) + 1)
        return seen

    assert asyncio.run(asyncio.wait_for(main(), GENEROUS)) == list(range(1, 11))


def test_asyncio_task_cancelled(pair):
    writer, reader = pair

    async def main():
        seen = []

        async def watch():
            async for frame in reader:
                seen.append(frame.image)

        task = asyncio.create_task(watch())
        writer.write(solid(1), 1)
        while not seen:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    seen = asyncio.run(asyncio.wait_for(main(), GENEROUS))
    storm(writer)
    assert (seen[0] == 1).all()
    assert reader.take().frame_id == 1039, "nothing was taken on behalf of the task that is gone"
    del seen
    gc.collect()
    assert reader.pinned == 0


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)", "import sys; sys.exit()", "import os; os._exit(0)"])
def test_interpreter_exit_with_a_view_alive(name, ending):
    lines = f"""
import sys
import numpy as np
from lkas_channels import ImageReader, ImageWriter
writer = ImageWriter(sys.argv[1], (48, 64, 3))
reader = ImageReader(sys.argv[1])
writer.write(np.ones((48, 64, 3), np.uint8), 1)
frame = reader.take()
image = frame.image
rows = image[3:]
frames = reader.frames()
loan = writer.loan(2)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", lines, name], capture_output=True, text=True, timeout=GENEROUS)
    assert (done.returncode, done.stderr) == (0, "")
    unlink(name)


def test_loan(pair):
    writer, reader = pair
    with writer.loan(5) as loan:
        loan.image[:] = 9
        kept = loan.image
    frame = reader.take()
    assert (frame.frame_id, int(frame.image[0, 0, 0])) == (5, 9)
    kept[:] = 1  # one's own memory: no frame changes
    assert (frame.image == 9).all()
    with pytest.raises(Released):
        loan.image
    with writer.loan(6) as loan:
        loan.image[:] = 2
        assert loan.image is not kept
    assert (kept == 1).all()
    with pytest.raises(RuntimeError):
        with writer.loan(7) as loan:
            raise RuntimeError("no frame came")
    assert reader.latest().frame_id == 6, "a loan that fails publishes nothing"


def test_shapes_and_types_are_checked(pair):
    writer, _reader = pair
    with pytest.raises(ValueError, match=r"shape \[48, 64\], expected \(48, 64, 3\)"):
        writer.write(np.zeros((48, 64), np.uint8), 1)
    with pytest.raises(TypeError, match="float64.*uint8"):
        writer.write(np.zeros(SHAPE), 1)
    with pytest.raises(ValueError, match="finite"):
        writer.write(solid(1), 1, timestamp=float("nan"))
    writer.write(np.full((48, 128, 3), 3, np.uint8)[:, ::2], 1)  # not contiguous


def test_gray_and_bgr(name):
    with ImageWriter(name, (4, 6, 1)) as writer, ImageReader(name) as reader:
        writer.write(np.full((4, 6), 5, np.uint8), 1)
        frame = reader.take()
        assert frame.format == "gray8" and (frame.image == 5).all() and frame.image.shape == (4, 6, 1)
    del frame
    with ImageWriter(name, (4, 6, 3), format="bgr8") as writer:
        assert writer.format == "bgr8"


def test_a_reader_follows_its_channel(name):
    reader = None
    kept = []
    for shape in ((4, 6, 3), (8, 6, 3), (8, 6, 1)):
        with ImageWriter(name, shape) as writer:
            writer.write(solid(1, shape), 1)
            reader = reader or ImageReader(name, places=3)
            wait_until(lambda: reader.shape == shape or reader.take(), "the new channel")
            frame = reader.latest()
            assert frame.shape == shape
            kept.append(frame.image)
    assert [image.shape for image in kept] == [(4, 6, 3), (8, 6, 3), (8, 6, 1)]
    assert all((image == 1).all() for image in kept)


def test_a_reader_finds_a_channel_whose_name_was_removed(name):
    import os

    writer = ImageWriter(name, SHAPE)
    reader = ImageReader(name)
    writer.write(solid(1), 1)
    assert reader.take().frame_id == 1
    os.unlink(f"/dev/shm/{name}")
    with pytest.warns(RuntimeWarning, match="removed the channel"):
        wait_until(lambda: writer.write(solid(2), 2) or os.path.exists(f"/dev/shm/{name}"), "the name")
    writer.write(solid(3), 3)
    wait_until(lambda: (frame := reader.latest()) and frame.frame_id == 3, "the frame under the new name")


def test_who_never_waits_does_not_wait_for_a_thread_that_does(pair):
    _writer, reader = pair
    stop = threading.Event()

    def wait():
        while not stop.is_set():
            reader.wait(0.5)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    took = 0.0
    for _ in range(100):
        time.sleep(0.002)  # the others wait again
        start = time.monotonic()
        assert reader.take() is None
        took += time.monotonic() - start
    stop.set()
    for thread in threads:
        thread.join()
    # Two milliseconds each, and tens or hundreds where the others are in the way.
    assert took < 2, f"{took / 100:.3f} s each"


def test_the_end_of_a_loans_memory_may_ask_for_a_loan(name, process):
    child = process(
        "import sys, weakref; from lkas_channels import ImageWriter\n"
        "with ImageWriter(sys.argv[1], (4, 6, 3)) as writer:\n"
        "    first, second = writer.loan(1), writer.loan(2)\n"
        "    weakref.finalize(second.image, lambda: writer.loan(3))\n"
        "    with first, second:\n"
        "        pass\n"
        "    with writer.loan(4):\n"
        "        pass\n"
        "    print('done')",
        name,
    )
    assert child.communicate(timeout=GENEROUS)[0] == "done\n"


def test_a_loans_memory_is_fit_for_a_loan_whatever_was_done_to_it(pair):
    writer, reader = pair
    with writer.loan(1) as loan:
        assert not loan.image.any(), "black, and nothing of this program's memory"
        loan.image.flags.writeable = False
    with writer.loan(2) as loan:
        loan.image[:] = 2
        image = loan.image
    image.shape = (-1,)
    del image
    with writer.loan(3) as loan:
        loan.image[:] = 3
    assert (reader.take().image == 3).all()


def test_what_a_closed_frame_says_is_passed_on(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    frame = reader.take()
    frame.close()
    with pytest.raises(Released, match="frame 1 is closed"):
        writer.write(frame, 2)


def test_a_frame_has_no_columns_one_after_the_other(pair):
    writer, reader = pair
    writer.write(solid(1), 1)
    frame = reader.take()
    view = ctypes.create_string_buffer(256)
    get = ctypes.pythonapi.PyObject_GetBuffer
    get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
    f_contiguous, c_contiguous = 0x58, 0x38
    for exporter in (frame, frame.image.base.obj):
        with pytest.raises(BufferError, match="copy"):
            get(exporter, view, f_contiguous)
        assert get(exporter, view, c_contiguous) == 0
        ctypes.pythonapi.PyBuffer_Release(view)


def test_images_that_are_not_contiguous(pair):
    writer, reader = pair
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    for cut in (image[:, :, ::-1], image[::-1], image.transpose(1, 0, 2).copy().transpose(1, 0, 2)):
        writer.write(cut, 1)
        assert (reader.take().image == cut).all()
    writer.write(memoryview(image)[::-1], 2)
    assert (reader.take().image == image[::-1]).all()


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root gives a file to another user")
def test_channels_of_other_users_are_opened_only_where_that_is_wanted(name):
    for kind, (writer_of, reader_of) in enumerate(
        [
            (lambda name: ImageWriter(name, SHAPE), ImageReader),
            (DetectionWriter, DetectionReader),
            (ControlWriter, ControlReader),
            (lambda name: Channel(name, [("x", "<f4")]).create(), lambda name, **options: Channel(name).open(**options)),
            (ControlWriter, lambda name, **options: supervise(name, **options)),
        ]
    ):
        with writer_of(f"{name}.{kind}") as writer:
            (file,) = [file for file in Path("/dev/shm").iterdir() if writer.name in file.name]
            os.chown(file, 12345, -1)
            try:
                with pytest.raises(ChannelError, match="12345"):
                    reader_of(writer.name)
                reader_of(writer.name, foreign_owner=True).close()
            finally:
                os.chown(file, 0, -1)


def supervise(name, **options):
    supervisor = ControlSupervisor(name, **options)
    supervisor.next()
    return supervisor
