"""Channels of numpy's structured types, described in their segment so that tools print them field by field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _iteration, _native

_Field = tuple[str, str, int | None, int, str]

#: What numpy calls a kind of number, and what a channel's description calls it.
_KINDS = {
    "|u1": "u8",
    "<u2": "u16",
    "<u4": "u32",
    "<u8": "u64",
    "|i1": "i8",
    "<i2": "i16",
    "<i4": "i32",
    "<i8": "i64",
    "<f4": "f32",
    "<f8": "f64",
    "|b1": "bool",
}
_FORMATS = {kind: code for code, kind in _KINDS.items()}


def _described(dtype: np.dtype[Any], units: Mapping[str, str], path: str = "", start: int = 0) -> Iterator[_Field]:
    """The fields of a structured type, those of types within it by their whole names: `wheels[2].rate`."""
    assert dtype.names is not None and dtype.fields is not None
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        shape = field.shape
        base = field.base
        whole = f"{path}{name}"
        count = int(np.prod(shape)) if shape else None
        if base.kind == "S" and count is None:
            # As many bytes as the longest text has.
            yield whole, "text", base.itemsize, start + offset, units.get(whole, "")
        elif base.names is None:
            kind = _KINDS.get(base.str)
            if kind is None:
                known = ", ".join(sorted(set(_KINDS.values())))
                raise TypeError(f"field {whole} is of type {base}, expected text (S) or one of {known}, little-endian")
            yield whole, kind, count, start + offset, units.get(whole, "")
        elif count is None:
            yield from _described(base, units, f"{whole}.", start + offset)
        else:
            for index in range(count):
                at = start + offset + index * base.itemsize
                yield from _described(base, units, f"{whole}[{index}].", at)


def _dtype_of(fields: list[_Field], size: int, align: int) -> np.dtype[Any]:
    """A structured type of fields that a channel describes."""
    def format_of(kind: str, count: int | None) -> Any:
        if kind == "text":
            return f"S{count}"
        return _FORMATS[kind] if count is None else (_FORMATS[kind], (count,))

    formats = [format_of(kind, count) for _, kind, count, _, _ in fields]
    layout: Any = {
        "names": [field[0] for field in fields],
        "formats": formats,
        "offsets": [field[3] for field in fields],
        "itemsize": size,
    }
    packed: np.dtype[Any] = np.dtype(layout)
    try:
        aligned: np.dtype[Any] = np.dtype(layout, align=True)
    except ValueError:
        # Fields at odd offsets, which no type in Rust has.
        return packed
    return aligned if aligned.alignment == align else packed


def _fill(into: np.ndarray[Any, Any], value: Any, what: str) -> None:
    """Writes `value` to a field. What numpy alone would convert, repeat or cut is refused."""
    dtype = into.dtype
    if isinstance(value, (np.void, np.ndarray)) and value.dtype.names is not None:
        if value.dtype != dtype or value.shape != into.shape:
            raise TypeError(f"{what} is of type {value.dtype}, expected {dtype}; or give a tuple or mapping of the fields")
        into[...] = value
    elif into.shape and dtype.names is not None:
        if not isinstance(value, (list, tuple)) or len(value) != len(into):
            raise ValueError(f"{what} is {value!r}, expected a list of {len(into)}")
        for index, item in enumerate(value):
            _fill(into[index, ...], item, f"{what}[{index}]")
    elif dtype.names is not None:
        if isinstance(value, Mapping):
            if set(value) != set(dtype.names):
                raise ValueError(f"{what} has fields {sorted(map(str, value))}, expected {sorted(dtype.names)}")
            value = tuple(value[name] for name in dtype.names)
        if not isinstance(value, tuple):
            raise TypeError(f"{what} is {value!r}, expected a record, a tuple or a mapping of {', '.join(dtype.names)}")
        if len(value) != len(dtype.names):
            raise ValueError(f"{what} has {len(value)} fields, expected {len(dtype.names)}: {', '.join(dtype.names)}")
        for name, item in zip(dtype.names, value, strict=True):
            _fill(into[name], item, f"field {name}" if what == "the value" else f"{what}.{name}")
    elif dtype.kind == "S":
        if not isinstance(value, (bytes, str)):
            raise TypeError(f"{what} is {value!r}, expected text in bytes")
        text = value.encode() if isinstance(value, str) else value
        if len(text) > dtype.itemsize:
            raise ValueError(f"{what} is {value!r}, expected at most {dtype.itemsize} bytes")
        into[...] = text
    else:
        found = np.asarray(value)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"{what} is {value!r}, expected {dtype}")
        if found.shape != into.shape:
            raise ValueError(f"{what} is of shape {found.shape}, expected {into.shape}")
        if dtype.kind == "f":
            into[...] = found
            return
        with np.errstate(invalid="ignore"):
            into[...] = found
        if not np.array_equal(into, found):
            raise ValueError(f"{what} is {value!r}, which does not fit into {dtype}")


class Channel:
    """The channel `name` of values of the structured type `dtype`.

    `create` makes its writer, `open` a reader. Fields are booleans, integers and floating-point numbers, arrays of them,
    text in bytes (`S`), and structures of such; a struct in Rust with the same fields at the same offsets is the same type.

    `type_name`: the name of the type, which both sides have to agree on; None is the channel's. `units`: units of fields,
    by their names. Without a `dtype`, readers get the one that the channel describes; then there are no writers.
    """

    def __init__(
        self,
        name: str,
        dtype: DTypeLike | None = None,
        *,
        namespace: str = "",
        type_name: str | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.type_name = name if type_name is None else type_name
        self.dtype: np.dtype[Any] | None = None
        self._fields: list[_Field] = []
        if dtype is None:
            return
        self.dtype = np.dtype(dtype)
        if self.dtype.names is None:
            raise TypeError(f"{self.dtype} has no fields; give a structured type such as np.dtype([('x', 'f4')])")
        units = units or {}
        self._fields = list(_described(self.dtype, units))
        unknown = set(units) - {field[0] for field in self._fields}
        if unknown:
            raise ValueError(f"units of fields that there are not: {', '.join(sorted(unknown))}")

    def create(self, **options: Any) -> ChannelWriter:
        """Creates the channel and becomes its writer. Options are those of the other writers: `readers`, `period`,
        `max_age`, `mode`, `group`, `foreign_owner`, `grace`."""
        if self.dtype is None:
            raise TypeError(f"the channel {self.name} was given no dtype, and a writer needs one")
        writer = _native._RecordWriter(
            self.name,
            self.type_name,
            self._fields,
            self.dtype.itemsize,
            self.dtype.alignment,
            namespace=self.namespace,
            **options,
        )
        return ChannelWriter(writer, self.dtype)

    def open(self, *, wait: float = 0.0, foreign_owner: bool = False) -> ChannelReader:
        """Opens the channel as a reader; waits for it to be there at most `wait` seconds. `foreign_owner`: whether it may
        belong to another user.

        Of a type from Rust with optional fields, values hold zeros where there is nothing: which there are, the bits of
        its field `present` say (`lkas info NAME` shows which bit, as byte:bit)."""
        expected = None
        if self.dtype is not None:
            expected = (self.type_name, self._fields, self.dtype.itemsize, self.dtype.alignment)
        reader = _native._RecordReader(
            self.name, expected, wait=wait, namespace=self.namespace, foreign_owner=foreign_owner
        )
        dtype = self.dtype if self.dtype is not None else _dtype_of(reader.fields, reader.size, reader.align)
        return ChannelReader(reader, dtype)

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {self.dtype!r})"


class ChannelWriter:
    """The writer of a channel of a structured type. See `Channel.create`."""

    def __init__(self, writer: _native._RecordWriter, dtype: np.dtype[Any]) -> None:
        self._writer = writer
        self.dtype = dtype

    def write(self, value: Any) -> None:
        """Publishes a value: a record of the channel's type, or a tuple or mapping with all of its fields. So are values
        of structures within it. Numbers must fit into their fields.

        Raises TypeError and ValueError where it is something else."""
        # Bytes between fields are zero: nobody reads what was there before.
        record = np.zeros((), self.dtype)
        _fill(record, value, "the value")
        self._writer.write(record.tobytes())

    @property
    def name(self) -> str:
        """The channel's name, with its namespace."""
        return self._writer.name

    @property
    def sequence(self) -> int:
        """The number of the newest publish; 0 before the first."""
        return self._writer.sequence

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._writer.closed

    def close(self) -> None:
        """Ends the role in good order. The channel stays for a successor."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_why: object) -> None:
        self.close()


class ChannelReader:
    """A reader of a channel of a structured type. See `Channel.open`. Values are records of one's own: copies."""

    def __init__(self, reader: _native._RecordReader, dtype: np.dtype[Any]) -> None:
        self._reader = reader
        self.dtype = dtype
        self.type_name = reader.type_name

    def _value(self, found: bytes | None) -> Any:
        return None if found is None else np.frombuffer(bytearray(found), self.dtype, 1)[0]

    def take(self) -> Any:
        """The newest value, if this reader has not had it yet; None otherwise. Never waits."""
        return self._value(self._reader.take())

    def latest(self, max_age: float | None = None) -> Any:
        """The newest value, whether or not it was had before; None before the first. Raises Stale where it was published
        more than `max_age` seconds ago."""
        return self._value(self._reader.latest(max_age))

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until there is something to take, at most `timeout` seconds; whether there is."""
        return self._reader.wait(timeout)

    def values(self, timeout: float | None = None) -> Iterator[Any]:
        """Iterates over values, each the newest at its time; waits for each at most `timeout` seconds, then raises
        Stale."""
        return _iteration.values(self, timeout)

    def __iter__(self) -> Iterator[Any]:
        return self.values()

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iteration.async_values(self)

    @property
    def name(self) -> str:
        """The channel's name, with its namespace."""
        return self._reader.name

    @property
    def missed(self) -> int:
        """How many values were published and replaced before this reader took them."""
        return self._reader.missed

    @property
    def sequence(self) -> int:
        """The number of the publish of the last value that was taken."""
        return self._reader.sequence

    @property
    def writer_alive(self) -> bool:
        """Whether some process is the channel's writer now, running or suspended."""
        return self._reader.writer_alive

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._reader.closed

    def close(self) -> None:
        """Gives the reader place back."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_why: object) -> None:
        self.close()
