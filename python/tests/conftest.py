"""What the tests have in common: channels with names of their own that are gone afterwards, and other processes."""

from __future__ import annotations

import gc
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import lkas_channels
from lkas_channels import ChannelError, channels, unlink

#: Long enough for any machine: what is waited for comes at once, or never.
GENEROUS = 30.0
SHAPE = (48, 64, 3)

_numbers = itertools.count()


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.002)


def remove(prefix: str) -> list[str]:
    """Removes the channels whose names start with it, and says why some could not be."""
    used = []
    for channel in channels():
        if channel.startswith(prefix):
            try:
                unlink(channel)
            except ChannelError as why:
                used.append(str(why))
    return used


def solid(value: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.full(shape, value % 256, dtype=np.uint8)


@pytest.fixture
def name() -> Iterator[str]:
    """A channel's name. Channels that start with it are removed afterwards, and must not be in use by then."""
    prefix = f"pytest-{os.getpid()}-{next(_numbers)}"
    yield prefix
    gc.collect()
    used = remove(prefix)
    assert not used, used


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process that runs the given lines, with the given arguments."""
    started: list[subprocess.Popen[str]] = []

    def start(lines: str, *arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", lines, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def base_port() -> int:
    """The first of six ports that are free."""
    for port in range(20000 + os.getpid() % 1000 * 6, 32000, 6):
        sockets = [socket.socket() for _ in range(6)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]


assert lkas_channels.now() > 0
