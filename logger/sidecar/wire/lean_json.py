"""JSON parser for untrusted clients, level by level: unread fields are skipped, and oversized structures refused.

A parser that builds everything first takes seconds for a few megabytes of empty lists, and blocks all other threads
meanwhile.
"""

import json
from collections.abc import Set
from typing import Any

import msgspec

from weightwarden.logger.sidecar.errors import invalid

SMALL_BYTES = 4096
"""Size below which bodies are parsed whole."""
MAX_VALUES = 65_536
"""Largest number of values in a body. Numbers in lists of integers do not count."""
MAX_DEPTH = 32
"""Largest nesting of lists and objects, the body included. Each level is scanned once for every level above it."""

_FIELDS, _ITEMS = msgspec.json.Decoder(dict[str, msgspec.Raw]), msgspec.json.Decoder(list[msgspec.Raw])
_NUMBERS, _ANY = msgspec.json.Decoder(list[int]), msgspec.json.Decoder()


def read_object(body: bytes, unread: Set[str]) -> Any:
    """The value of a body. The fields of an object that `unread` names are omitted, and never built.

    Raises:
        ValueError: the body is not JSON.
        RecursionError: the body is nested too deeply for a parser.
        ApiError: the body has too many values or levels.
    """
    if len(body) <= SMALL_BYTES:
        value = json.loads(body)
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if key not in unread}
        return value
    try:
        return _Reader().read(body.lstrip(), unread, 1)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


class _Reader:
    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, raw: bytes | msgspec.Raw, unread: Set[str], level: int) -> Any:
        opening = bytes(memoryview(raw)[:1])
        if opening not in (b"{", b"["):
            return _ANY.decode(raw)
        if level > MAX_DEPTH:
            raise invalid(f"lists and objects within one another at more than {MAX_DEPTH} levels")
        if opening == b"{":
            fields = _FIELDS.decode(raw)
            self._count(len(fields))
            return {key: self.read(item, frozenset(), level + 1) for key, item in fields.items() if key not in unread}
        try:
            return _NUMBERS.decode(raw)
        except msgspec.ValidationError:
            items = _ITEMS.decode(raw)
        self._count(len(items))
        return [self.read(item, frozenset(), level + 1) for item in items]

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise invalid(f"a body with more than {MAX_VALUES} values")
