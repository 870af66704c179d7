"""What type checkers say of programs that use the package."""

from __future__ import annotations

import pytest

PROGRAM = """
import numpy as np
from lkas_channels import Broker, ImageReader, ImageWriter

def copy(writer: ImageWriter, reader: ImageReader, broker: Broker) -> None:
    frame = reader.take()
    assert frame is not None
    writer.write(np.full((48, 64, 3), 1, np.uint8), frame_id=1)
    writer.write(frame, frame_id=1)
    writer.write(b"123", frame_id=1)
    broker.broadcast_frame(frame.image, 1)
"""


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_images_of_every_kind_are_accepted(tmp_path, version):
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    options = ["--strict", "--python-version", version, "--cache-dir", str(tmp_path / "cache")]
    out, err, status = api.run([*options, str(script)])
    assert status == 0, out + err
