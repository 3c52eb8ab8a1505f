"""A stored answer as bytes, made so that nobody can take them for the answer to something else.

A record is a head and a body. The head holds a digest of everything behind it, made with the entry's key: a
record that was damaged, cut short, or stands under another key does not match, and counts as none.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from hybrid_infer.calls.cached import Entry

_MAGIC = b"HIC\x01"
"""What it is, and the version of the format."""

_DIGEST = 16
_FRONT = len(_MAGIC) + _DIGEST
_FIELDS = struct.Struct("<dd?qHHQ")
"""Stored, expires (infinite where it does not), whether it is known what a hit saves, and how much; the
lengths of target, operation and value, which follow in this order."""

HEAD = 512
"""Bytes from the start of a record that are enough for `head_of`."""

_LONGEST = 200
"""Bytes of a target's or operation's name that are kept: they are for statistics alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a record says of itself. Times are seconds since 1970, `size` is that of the value in bytes."""

    stored: float
    expires: float | None
    target: str
    operation: str
    saved_nano: int | None
    size: int


def pack(key: bytes, entry: Entry) -> bytes:
    """The record of an entry.

    Args:
        key: 64 bytes at most.

    Raises:
        ValueError: a number is none, or beyond all measure.
    """
    target, operation = _name(entry.target), _name(entry.operation)
    saved = entry.saved_nano
    if math.isnan(entry.stored):
        raise ValueError("the entry does not say when it was stored")
    try:
        fields = _FIELDS.pack(
            entry.stored,
            math.inf if entry.expires is None else entry.expires,
            saved is not None,
            saved or 0,
            len(target),
            len(operation),
            len(entry.value),
        )
    except struct.error:
        raise ValueError("a number of the entry is beyond all measure") from None
    body = b"".join((fields, target, operation, entry.value))
    return _MAGIC + _digest(key, body) + body


def unpack(key: bytes, record: bytes) -> Entry | None:
    """The entry that was packed under this key; None where these are not its bytes."""
    body = record[_FRONT:]
    if record[: len(_MAGIC)] != _MAGIC or not compare_digest(
        record[len(_MAGIC) : _FRONT], _digest(key, body)
    ):
        return None
    head = head_of(record)
    if head is None:
        return None
    return Entry(
        value=body[len(body) - head.size :],
        stored=head.stored,
        expires=head.expires,
        target=head.target,
        operation=head.operation,
        saved_nano=head.saved_nano,
    )


def head_of(start: bytes) -> Head | None:
    """What a record says of itself, from its first bytes (see `HEAD`); None where it is no record.

    Nothing is verified: good enough to count, not to answer with.
    """
    if len(start) < _FRONT + _FIELDS.size or not start.startswith(_MAGIC):
        return None
    stored, expires, known, saved, target, operation, size = _FIELDS.unpack_from(start, _FRONT)
    names = start[_FRONT + _FIELDS.size :]
    if target + operation > len(names):
        return None
    return Head(
        stored=stored,
        expires=None if expires == math.inf else expires,
        target=names[:target].decode(errors="replace"),
        operation=names[target : target + operation].decode(errors="replace"),
        saved_nano=saved if known else None,
        size=size,
    )


def _digest(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_DIGEST).digest()


def _name(text: str) -> bytes:
    return text.encode(errors="replace")[:_LONGEST]
