"""The answers of a log, found by the requests that the sidecar sent for them."""

import hashlib
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable

_ROW = struct.Struct("<QQQQIQ")
_DTYPE = np.dtype([(name, "<u8") for name in ("key", "key_2", "ids", "ids_2")] + [("tokens", "<u4"), ("record", "<u8")])
assert _DTYPE.itemsize == _ROW.size


class LogDoesNotHold(WeightwardenError, ValueError):
    """The archives are not the log that the key's holder sealed: no exchange is compared with them."""


class Drawn(NamedTuple):
    """A completion as a capture shows it.

    Attributes:
        key: the request, as `request_key` names it.
        ids: token ids that the server sent.
    """

    key: bytes
    ids: "array[int]"


class Match(Enum):
    """The comparison of a completion with the log: the class of its frames."""

    RECORDED = "completions"
    FAILED_ATTEMPT = "failed attempts"
    TWICE = "second completion of a record"
    DIFFERS = "completion that differs from its record"
    NONE = "completion without a record"


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Records whose answers no capture has shown.

    Attributes:
        between: number of them between the first and the last record that a capture has shown.
        outside: number of them before the first or after the last: the captures may not cover their time.
        example: index of the first of `between`, or None.
    """

    between: int
    outside: int
    example: int | None


class LoggedAnswers:
    """The requests of a log's records, 61 bytes each, and which of them the captures have shown.

    Attributes:
        records: number of records.
        origin: the log's origin; None before its first record.
    """

    def __init__(self) -> None:
        self.records = 0
        self.origin: str | None = None
        self._packed = bytearray()
        self._table: Any = np.zeros(0, _DTYPE)
        self._order = np.zeros(0, np.int64)
        self._keys = np.zeros(0, np.uint64)
        self._seen = np.zeros(0, bool)

    def add(self, index: int, data: bytes) -> None:
        """Add a record.

        Args:
            index: its index in the log.
            data: its canonical bytes.

        Raises:
            RecordEncodingError: the bytes are no record.
        """
        for _, request in decode_record(data).requests():
            seed = None if request.sampling.is_greedy else request.choice_seed()
            key = request_key(array("i", request.prompt_token_ids), seed)
            ids = array("i", request.output_token_ids)
            self._packed += _ROW.pack(*_halves(key), *_halves(_digest(ids)), len(ids), index)
        self.records += 1

    def match(self, drawn: Drawn) -> tuple[Match, int]:
        """The comparison of a completion with the log, and the number of its ids beyond the record's.

        A record that matches counts as seen. Its ids are all that the capture shows, or their beginning: the sidecar
        cuts an answer at its own end.
        """
        count, repeated = len(drawn.ids), False
        rows = self._rows_of(drawn.key)
        found = self._table[rows]
        for tokens in np.unique(found["tokens"])[::-1].tolist():
            if tokens > count:
                continue
            first, second = _halves(_digest(drawn.ids[:tokens]))
            equal = rows[(found["tokens"] == tokens) & (found["ids"] == first) & (found["ids_2"] == second)]
            unseen = equal[~self._seen[equal]]
            if len(unseen):
                self._seen[unseen[0]] = True
                return Match.RECORDED, count - tokens
            repeated = repeated or len(equal) > 0
        if not len(rows):
            return Match.NONE, 0
        if not count:
            return Match.FAILED_ATTEMPT, 0
        return (Match.TWICE if repeated else Match.DIFFERS), 0

    def unseen(self) -> Unseen:
        """The records that no capture has shown. A record without tokens may never have reached the server."""
        self._sort()
        shown = self._table["record"][self._seen]
        hidden = np.unique(self._table["record"][~self._seen & (self._table["tokens"] > 0)])
        if not len(shown):
            return Unseen(between=0, outside=len(hidden), example=None)
        between = hidden[(hidden > shown.min()) & (hidden < shown.max())]
        example = int(between[0]) if len(between) else None
        return Unseen(between=len(between), outside=len(hidden) - len(between), example=example)

    def _rows_of(self, key: bytes) -> NDArray[np.int64]:
        """The rows of a request."""
        self._sort()
        first, second = _halves(key)
        begin, end = np.searchsorted(self._keys, np.array([first, first + 1], np.uint64))
        rows = self._order[begin:end]
        found: NDArray[np.int64] = rows[self._table["key_2"][rows] == second]
        return found

    def _sort(self) -> None:
        """Take in the rows that were added since."""
        if not self._packed:
            return
        added = np.frombuffer(bytes(self._packed), _DTYPE)
        self._packed.clear()
        self._table = np.concatenate([self._table, added])
        self._seen = np.concatenate([self._seen, np.zeros(len(added), bool)])
        self._order = np.argsort(self._table["key"], kind="stable")
        self._keys = self._table["key"][self._order]


def read_logged_answers(
    urls: Sequence[str], keys: PublicKeys, progress: Callable[[int], None] | None = None
) -> LoggedAnswers:
    """The answers of a log's archives, which are checked here.

    Args:
        urls: the archives, which may begin anywhere in the log.
        keys: known keys.
        progress: called with the number of records just read.

    Raises:
        LogDoesNotHold: the check found a fault.
        OtherLog: the archives are of different logs.
        ArchiveUnreadable: an archive cannot be read.
    """
    answers = LoggedAnswers()

    def keep(archive: Archive, index: int, data: bytes) -> None:
        answers.origin = archive.checkpoint.origin
        answers.add(index, data)

    found = check_archives(urls, keys, keep=keep, progress=progress, partial=True)
    if not found.holds:
        first = found.findings[0]
        raise LogDoesNotHold(
            f"{printable(first.where)}: {first.kind}: {first.what}; `verify log check` lists all faults"
        )
    return answers


def request_key(prompt: "array[int]", seed: int | None) -> bytes:
    """The name of a request: a hash of its prompt ids and seed, 16 bytes."""
    said = b"" if seed is None else b"%d" % seed
    return hashlib.blake2b(said + b" " + prompt.tobytes(), digest_size=16).digest()


def _digest(ids: "array[int]") -> bytes:
    """A hash of token ids, 16 bytes."""
    return hashlib.blake2b(ids.tobytes(), digest_size=16).digest()


def _halves(hashed: bytes) -> tuple[int, int]:
    """A hash of 16 bytes as two numbers; the first is below 2**64 - 1, so that its successor is a number, too."""
    first, second = struct.unpack("<QQ", hashed)
    return min(first, 2**64 - 2), second
