"""The original programs' times are seconds since 1970; the channels' are of the monotonic clock, which nobody sets."""

from __future__ import annotations

import time

from .. import now

#: No machine has been up for so long, and no clock that counts from 1970 shows less.
_SINCE_1970 = 1.0e9


def to_monotonic(timestamp: float | None) -> float:
    """A time of the original programs on the channels' clock. None is now; what does not count from 1970 stays."""
    if timestamp is None:
        return now()
    if timestamp < _SINCE_1970:
        return float(timestamp)
    return now() - (time.time() - timestamp)


def to_unix(timestamp: float) -> float:
    """A time of the channels in seconds since 1970."""
    return time.time() - (now() - timestamp)
