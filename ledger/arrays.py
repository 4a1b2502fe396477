"""Arrays in PostgreSQL's binary form, packed in one go: far cheaper than a driver walking lists.

Each class is the bytes of a one-dimensional array, lower bound 1; elements may be None where the
constructor says so. `register` teaches a connection to send them as they are.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NULL = struct.pack("!i", -1)


class Int4Array(bytes):
    """`integer[]`."""


class Int8Array(bytes):
    """`bigint[]`."""


class BooleanArray(bytes):
    """`boolean[]`."""


class TextArray(bytes):
    """`text[]`; elements may be None."""


class ByteaArray(bytes):
    """`bytea[]`."""


class InstantArray(bytes):
    """`timestamptz[]`; elements may be None, others have a time zone."""


def int4_array(values: Sequence[int]) -> Int4Array:
    """Return `integer[]`."""
    return Int4Array(_fixed(23, "i", 4, values))


def int8_array(values: Sequence[int]) -> Int8Array:
    """Return `bigint[]`."""
    return Int8Array(_fixed(20, "q", 8, values))


def boolean_array(values: Sequence[bool]) -> BooleanArray:
    """Return `boolean[]`."""
    return BooleanArray(_fixed(16, "?", 1, values))


def text_array(values: Sequence[str | None]) -> TextArray:
    """Return `text[]`, with nulls for None."""
    return TextArray(_variable(25, [None if value is None else value.encode() for value in values]))


def bytea_array(values: Sequence[bytes]) -> ByteaArray:
    """Return `bytea[]`."""
    return ByteaArray(_variable(17, values))


def instant_array(values: Sequence[datetime | None]) -> InstantArray:
    """Return `timestamptz[]`, with nulls for None."""
    elements = [None if value is None else struct.pack("!q", (value - _EPOCH) // _MICROSECOND) for value in values]
    return InstantArray(_variable(1184, elements))


def _fixed(element_oid: int, letter: str, size: int, values: Sequence[int]) -> bytes:
    count = len(values)
    flat = [size] * (2 * count)
    flat[1::2] = values
    return _head(element_oid, count) + struct.pack("!" + ("i" + letter) * count, *flat)


def _variable(element_oid: int, elements: Sequence[bytes | None]) -> bytes:
    parts = [_head(element_oid, len(elements))]
    for element in elements:
        if element is None:
            parts.append(_NULL)
        else:
            parts.append(struct.pack("!i", len(element)))
            parts.append(element)
    return b"".join(parts)


def _head(element_oid: int, count: int) -> bytes:
    if count == 0:
        return struct.pack("!iiI", 0, 0, element_oid)
    # One dimension, "may hold nulls", element type, length, lower bound.
    return struct.pack("!iiIii", 1, 1, element_oid, count, 1)


class _AsIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


_ARRAY_OIDS: dict[type, int] = {
    Int4Array: 1007,
    Int8Array: 1016,
    BooleanArray: 1000,
    TextArray: 1009,
    ByteaArray: 1001,
    InstantArray: 1185,
}


def register(connection: psycopg.AsyncConnection) -> None:
    """Make a connection send these arrays untouched, with their types."""
    for array_class, oid in _ARRAY_OIDS.items():
        connection.adapters.register_dumper(array_class, type(f"_{array_class.__name__}", (_AsIs,), {"oid": oid}))
