"""Iterating over the values of a reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ._errors import Released, Stale

#: How long a thread waits on behalf of a task before it looks whether the task is still there, in seconds.
_SLICE = 0.1


def _take(reader: Any) -> Any:
    """The next value; None where there is none, or another thread has closed the reader."""
    try:
        return reader.take()
    except Released:
        return None


def values(reader: Any, timeout: float | None) -> Iterator[Any]:
    """The values of a reader, each the newest at its time, until the reader is closed."""
    while not reader.closed:
        value = _take(reader)
        if value is not None:
            yield value
            # Or the turn before would keep the value, beside the loop's own name.
            value = None
            continue
        try:
            came = reader.wait(timeout)
        except Released:
            return
        if not came and timeout is not None and not reader.closed:
            raise Stale(f"nothing new on {reader.name} for {timeout:g} s; look at its writer")


async def async_values(reader: Any) -> AsyncIterator[Any]:
    """The values of a reader for `async for`. A thread of its own waits, a moment at a time, so that a task that is
    cancelled leaves at once and nothing is taken on its behalf."""
    loop = asyncio.get_running_loop()
    # Daemons are not what these threads are: the interpreter waits for them at its end, for one slice.
    with_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"wait for {reader.name}")
    try:
        while not reader.closed:
            value = _take(reader)
            if value is not None:
                yield value
                value = None
                continue
            try:
                await loop.run_in_executor(with_thread, reader.wait, _SLICE)
            except Released:
                return
    finally:
        with_thread.shutdown(wait=False, cancel_futures=True)
