"""What the two READMEs show in Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import private
import pytest
from conftest import SHAPE

from lkas_channels import ImageReader, ImageWriter

PACKAGE = Path(__file__).resolve().parents[1] / "README.md"
REPOSITORY = PACKAGE.parents[1] / "README.md"

#: A camera for ten frames, for the loop of the package's README.
CAMERA = """
import threading, time
import numpy as np
from lkas_channels import *
def film():
    with ImageWriter("camera_feed", (600, 800, 3)) as camera:
        until = time.monotonic() + 60
        for number in range(1, 10):
            camera.write(np.zeros((600, 800, 3), np.uint8), number)
            while time.monotonic() < until and not is_answered(number):
                time.sleep(0.001)
def is_answered(number):
    found = answers.latest()
    return found is not None and found.frame_id == number
first = DetectionWriter("lane_detection")
answers = DetectionReader("lane_detection")
first.close()
camera = threading.Thread(target=film)
camera.start()
"""


def blocks(readme: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)


needs_private = pytest.mark.skipif(
    not private.is_allowed(), reason="LEFT OUT: channels of these names may be in use, and this machine forbids namespaces"
)


@needs_private
def test_the_repositorys_readme(tmp_path):
    (block,) = blocks(REPOSITORY)
    assert len(block.splitlines()) <= 10
    script = tmp_path / "readme.py"
    script.write_text(block)
    done = private.run(script, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1 128.0\n"), done.stderr


@needs_private
def test_the_packages_readme(tmp_path):
    loop, _capture, own, names, *_ = blocks(PACKAGE)
    script = tmp_path / "readme.py"
    # The loop ends with its camera.
    after = "answer = answers.latest()\nassert answer.frame_id == 9 and answer.left.y2 == 360, answer\n"
    guarded = "try:\n" + "".join(f"    {line}\n" for line in loop.splitlines()) + "except Stale:\n    pass\n"
    script.write_text(CAMERA + guarded + "camera.join()\n" + own + names + after)
    done = private.run(script, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[1.  1.  0.9 0.9]\n"), done.stderr


def test_the_packages_readme_captures_no_frame_twice(name, tmp_path):
    cv2 = pytest.importorskip("cv2")
    video = str(tmp_path / "video.avi")
    recording = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"MJPG"), 10, (SHAPE[1], SHAPE[0]))
    recording.write(np.full(SHAPE, 200, np.uint8))
    recording.release()
    exec(blocks(PACKAGE)[1], defined := {})
    with ImageWriter(name, SHAPE, format="bgr8") as writer, ImageReader(name) as reader:
        camera = cv2.VideoCapture(video)
        defined["capture"](camera, writer, 1)
        assert (reader.take().image > 150).all()
        with pytest.raises(RuntimeError, match="no frame of shape"):
            defined["capture"](camera, writer, 2)
    with ImageWriter(name + ".small", (24, 32, 3), format="bgr8") as writer:
        with pytest.raises(RuntimeError, match="no frame of shape"):
            defined["capture"](cv2.VideoCapture(video), writer, 1)
        assert writer.sequence == 0
