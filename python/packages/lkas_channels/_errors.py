"""What can go wrong with a channel."""


class ChannelError(Exception):
    """A channel can't be created, opened or used. The message names what was found, expected, and what to do."""


class NoChannel(ChannelError, ConnectionError):
    """There is no such channel: its writer was not started."""


class WriterExists(ChannelError, FileExistsError):
    """The channel has a writer that is alive."""


class NoPlace(ChannelError):
    """All reader places of the channel are taken."""


class WrongType(ChannelError, TypeError):
    """The channel carries another type, or another shape."""


class Stale(ChannelError, TimeoutError):
    """The newest value is too old to be acted on, or none came in time."""


class Released(ChannelError, ValueError):
    """The frame, loan, reader or writer was closed."""


class Forked(ChannelError):
    """The handle belongs to the process that this one was forked from: open it again here."""


class InUse(ChannelError):
    """The channel is not removed, because somebody uses it."""
