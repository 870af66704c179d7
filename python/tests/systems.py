"""The programs of this repository, for tests that run them: in the folder that LKAS_PROGRAMS names, or in target/."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until

from lkas_channels import Channel

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def programs() -> Path | None:
    target = Path(__file__).resolve().parents[2] / "target"
    places = [Path(os.environ["LKAS_PROGRAMS"])] if "LKAS_PROGRAMS" in os.environ else [target / "release", target / "debug"]
    return next((place for place in places if (place / "lkas").exists() and (place / "simulation").exists()), None)


needs_programs = pytest.mark.skipif(
    programs() is None and "LKAS_REQUIRE_PROGRAMS" not in os.environ,
    reason="LEFT OUT: the programs are not built; cargo build --release",
)


def status(namespace: str, process: str) -> Callable[[str], float]:
    """What a process says of itself, by the last part of a field's name."""
    with Channel(f"status_{process}", namespace=namespace).open(wait=60) as reader:
        wait_until(lambda: reader.latest() is not None, f"the status of the {process}")
        record = reader.latest()

    def field(name: str) -> float:
        (found,) = [whole for whole in record.dtype.names if whole.split(".")[-1] == name]
        return float(record[found])

    return field
