"""Channels and messages in shared memory. They are those of `lkas_channels.compat`."""

from lkas_channels.compat import *  # noqa: F403
from lkas_channels.compat import __all__ as __all__
