"""What the original programs' channels have in common: an owner that is not yet a writer, and retries."""

from __future__ import annotations

import logging
import time
from typing import Any, Generic, Protocol, TypeVar

from .._errors import ChannelError, InUse, NoChannel, Released, WriterExists
from .._native import _look, unlink

log = logging.getLogger("lkas_channels")


class _Role(Protocol):
    def close(self) -> None: ...


W = TypeVar("W", bound=_Role)
R = TypeVar("R", bound=_Role)


class Roles(Generic[W, R]):
    """A channel whose roles are taken when they are used first.

    `create=True` means that this program is the channel's owner: the channel is there from then on. It may read it as
    well as write it, so the writer's role is taken by the first write, and a reader place by the first read. Otherwise
    two programs that each own what the other one writes would wait for each other.
    """

    def __init__(self, name: str, create: bool, retry_count: int, retry_delay: float) -> None:
        self.name = name
        self._writer: W | None = None
        self._reader: R | None = None
        self._closed = False
        if create:
            self._create()
        else:
            self._find(retry_count, retry_delay)

    def _make_writer(self) -> W:
        raise NotImplementedError

    def _make_reader(self) -> R:
        raise NotImplementedError

    def _create(self) -> None:
        # An earlier run's last value is nobody's news. What is in use stays.
        try:
            unlink(self.name)
        except ChannelError:
            pass
        try:
            writer: Any = self._make_writer()
        except WriterExists:
            # Its writer was faster.
            return
        writer.close()

    def _find(self, retry_count: int, retry_delay: float) -> None:
        attempts = max(1, retry_count)
        for attempt in range(attempts):
            if attempt:
                time.sleep(retry_delay)
            try:
                _look(self.name)
                return
            except NoChannel:
                continue
        waited = (attempts - 1) * retry_delay
        raise NoChannel(
            f"there is no channel {self.name} after {attempts} attempts in {waited:g} s; start its writer, or its owner"
        )

    def _check(self) -> None:
        if self._closed:
            raise Released(f"the channel {self.name} is closed; open it again")

    def _for_writing(self) -> W:
        if self._writer is None:
            self._check()
            self._writer = self._make_writer()
        return self._writer

    def _for_reading(self) -> R | None:
        """The reader; None while the channel is not there."""
        if self._reader is None:
            self._check()
            try:
                self._reader = self._make_reader()
            except NoChannel:
                return None
        return self._reader

    def close(self) -> None:
        """Gives the roles back. The channel stays."""
        self._closed = True
        for role in (self._writer, self._reader):
            if role is not None:
                role.close()
        self._writer = self._reader = None

    def unlink(self) -> None:
        """Closes, then removes the channel, unless another program uses it: then it stays, for that one to remove."""
        self.close()
        try:
            unlink(self.name)
        except InUse as why:
            log.info("%s", why)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_why: object) -> None:
        self.close()
