"""Changes of the log as bytes: what a worker sends, and what the main process reads."""

import struct
from collections.abc import Iterator

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.changes import DraftTokens, Entry, SeedBlock

_HEAD = struct.Struct("<BIqq")
"""Form of the change, its ticket, the number of its draft or of seeds, the position of its tokens."""
_LENGTH = struct.Struct("<I")
_TIME = struct.Struct("<q")
_TOKENS, _ENTRY, _SEEDS = 1, 2, 3
_NOTHING = 2**32 - 1
"""Length in place of a part that is None."""
_NO_DRAFT = -1

WorkersChange = DraftTokens | Entry | SeedBlock
"""A change that a worker makes."""


def encode_change(ticket: int, change: WorkersChange) -> bytes:
    """The bytes of a change.

    Args:
        ticket: number by which its result is told, less than 2^32.
        change: the change.
    """
    if isinstance(change, DraftTokens):
        head = _HEAD.pack(_TOKENS, ticket, change.draft, change.at)
        parts = (change.tokens, change.payload, _stamp_bytes(change.stamp), change.replacement)
        return head + b"".join(map(_part, parts))
    if isinstance(change, Entry):
        head = _HEAD.pack(_ENTRY, ticket, _NO_DRAFT if change.draft is None else change.draft, 0)
        return head + _part(change.payload) + _part(_stamp_bytes(change.stamp))
    return _HEAD.pack(_SEEDS, ticket, change.count, 0)


def decode_changes(content: memoryview) -> Iterator[tuple[int, WorkersChange]]:
    """The changes in a frame, each with its ticket.

    Raises:
        ValueError: these are no changes.
    """
    parts = _Parts(content)
    while parts.left:
        form, ticket, number, at = parts.head()
        if form == _TOKENS:
            tokens, payload, stamp, replacement = parts.next(), parts.next(), parts.next(), parts.next()
            if tokens is None:
                raise ValueError("tokens of a draft are missing")
            yield ticket, DraftTokens(number, at, tokens, payload, _stamp(stamp), replacement)
        elif form == _ENTRY:
            payload, stamp = parts.next(), parts.next()
            if payload is None:
                raise ValueError("a record is missing")
            yield ticket, Entry(payload, None if number == _NO_DRAFT else number, _stamp(stamp))
        elif form == _SEEDS:
            yield ticket, SeedBlock(number)
        else:
            raise ValueError(f"{form} is no form of a change")


class _Parts:
    """Reader of the parts of a frame."""

    def __init__(self, content: memoryview) -> None:
        self._content, self._at = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def head(self) -> tuple[int, int, int, int]:
        form, ticket, number, at = _HEAD.unpack(self._bytes(_HEAD.size))
        return form, ticket, number, at

    def next(self) -> bytes | None:
        (length,) = _LENGTH.unpack(self._bytes(_LENGTH.size))
        return None if length == _NOTHING else self._bytes(length)

    def _bytes(self, length: int) -> bytes:
        if length > self.left:
            raise ValueError("a frame ends within a change")
        self._at += length
        return bytes(self._content[self._at - length : self._at])


def _part(content: bytes | None) -> bytes:
    return _LENGTH.pack(_NOTHING) if content is None else _LENGTH.pack(len(content)) + content


def _stamp_bytes(stamp: RequestStamp | None) -> bytes | None:
    return None if stamp is None else _TIME.pack(stamp.time) + stamp.request_id.encode()


def _stamp(content: bytes | None) -> RequestStamp | None:
    if content is None:
        return None
    (time,) = _TIME.unpack_from(content)
    return RequestStamp(content[_TIME.size :].decode(), time)
