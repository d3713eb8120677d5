"""Reader of a log, beside its writer, with an audit of the whole log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select

from weightwarden.logger.database import shown
from weightwarden.logger.request_stamp import ALL_STAMPS, RequestStamp, StampQuery
from weightwarden.logger.store.changes import OpenSeed
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import ARCHIVE, CHECKPOINT, COSIGNATURE, ENTRY, LOG, MARK, OPEN_SEED, START
from weightwarden.logger.store.stamps import PAGE as STAMP_PAGE
from weightwarden.logger.store.stamps import stored_stamps
from weightwarden.logger.store.tree import (
    PAGE,
    RolledOver,
    frontier_at,
    leaf_hashes,
    require_all,
    restored,
    segment_start,
    stored_bytes,
    stored_size,
)
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

_PAGE = 64
"""Payloads that are read at a time. They are few, since one payload may have megabytes."""


class LogReader:
    """Reader of committed records. It never writes and needs no lock.

    Records are read a page at a time, a transaction a page: a long transaction would keep SQLite's write-ahead log, or
    PostgreSQL's removed rows, from being reclaimed. Records never change, so the pages fit together.
    """

    def __init__(self, url: str) -> None:
        """A reader of an existing log.

        Raises:
            LogUnreadable: there is none, or it is not a log.
        """
        self._url = LOG_DATABASE.parse_url(url)
        self._engine = LOG_DATABASE.make_engine(self._url, writes=False)
        with self._connected() as connection:
            LOG_DATABASE.require_current(connection, self._url)

    @property
    def origin(self) -> str:
        """The log's name.

        Raises:
            LogCorrupt: it has none.
        """
        with self._connected() as connection:
            return self._origin(connection)

    def _origin(self, connection: Connection) -> str:
        origins = connection.execute(select(LOG.c.origin)).scalars().all()
        if len(origins) != 1 or not isinstance(origins[0], str):
            raise LogCorrupt(f"{shown(self._url)}: it does not say whose log it is")
        return origins[0]

    def size(self) -> int:
        """Number of records."""
        with self._connected() as connection:
            return stored_size(connection)

    def frontier(self, size: int) -> Frontier:
        """The tree of the first `size` records, by their stored leaf hashes.

        Raises:
            LogCorrupt: a record is missing.
        """
        with self._connected() as connection:
            return frontier_at(connection, size)

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """The payloads of records start to stop - 1, read a page at a time.

        Raises:
            RolledOver: some of them are from before the present segment.
            LogCorrupt: a record is missing, or does not match its leaf hash.
        """
        for index, (payload, leaf) in enumerate(self._rows(start, stop), start):
            self._check_leaf(index, payload, leaf)
            yield payload

    def segment_start(self) -> Frontier:
        """The tree of all records before the present segment, which are in archives alone.

        Raises:
            LogCorrupt: its frontier is invalid.
        """
        with self._connected() as connection:
            return segment_start(connection)

    def stamps(self, query: StampQuery = ALL_STAMPS) -> Iterator[tuple[int, RequestStamp]]:
        """Index and stamp of the records that have one and meet the query, in log order, read a page at a time.

        Raises:
            LogCorrupt: a stamp is not an id and a time.
        """
        last, more = -1, True
        while more:
            with self._connected() as connection:
                page = stored_stamps(connection, query, last)
            yield from page
            more = len(page) == STAMP_PAGE
            last = page[-1][0] if page else last

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Size and signed note of every checkpoint, smallest first."""
        with self._connected() as connection:
            return _checkpoints(connection)

    def has_checkpoint(self, size: int) -> bool:
        """True if a checkpoint of that size was signed."""
        with self._connected() as connection:
            return connection.execute(select(CHECKPOINT.c.size).where(CHECKPOINT.c.size == size)).first() is not None

    def cosignatures(self, after: int) -> dict[int, list[tuple[str, str]]]:
        """The recorded cosignatures of checkpoints beyond a size: witness's key and signature line, by size."""
        columns = (COSIGNATURE.c.size, COSIGNATURE.c.witness, COSIGNATURE.c.line)
        found: dict[int, list[tuple[str, str]]] = {}
        with self._connected() as connection:
            for size, witness, line in connection.execute(
                select(*columns).where(COSIGNATURE.c.size > after).order_by(COSIGNATURE.c.size, COSIGNATURE.c.witness)
            ):
                found.setdefault(size, []).append((str(witness), str(line)))
        return found

    def leaf_hashes(self, start: int, stop: int) -> Iterator[bytes]:
        """The stored leaf hashes of records start to stop - 1, read a page at a time.

        Raises:
            LogCorrupt: a leaf hash is missing (or left the database with its segment), or has not 32 bytes.
        """
        for page in range(start, stop, PAGE):
            with self._connected() as connection:
                found = list(leaf_hashes(connection, page, min(stop, page + PAGE)))
            yield from found

    def archives(self) -> list[tuple[int, int, str]]:
        """Start, end and URL of every archive, in log order."""
        with self._connected() as connection:
            columns = (ARCHIVE.c.start, ARCHIVE.c.end, ARCHIVE.c.url)
            return [
                (start, end, url) for start, end, url in connection.execute(select(*columns).order_by(ARCHIVE.c.end))
            ]

    def sealed_size(self) -> int:
        """Number of records that are in archives."""
        with self._connected() as connection:
            return connection.execute(select(func.max(ARCHIVE.c.end))).scalar() or 0

    def starts(self) -> dict[int, bytes]:
        """The nonce of every start of a logger, by number."""
        with self._connected() as connection:
            rows = connection.execute(select(START.c.number, START.c.nonce).order_by(START.c.number))
            return {number: stored_bytes(nonce, f"start {number}") for number, nonce in rows}

    def open_seeds(self) -> list[OpenSeed]:
        """The seeds of requests that are not complete, in order of issue."""
        columns = (OPEN_SEED.c.start, OPEN_SEED.c.counter, OPEN_SEED.c.request, OPEN_SEED.c.issued_at)
        with self._connected() as connection:
            rows = connection.execute(select(*columns).order_by(OPEN_SEED.c.counter))
            return [
                OpenSeed(start, counter, stored_bytes(request, f"open seed {counter}"), issued_at)
                for start, counter, request, issued_at in rows
            ]

    def audit(self, root_of: Callable[[bytes], bytes] | None = None) -> Frontier:
        """The tree of all records, with every leaf hash, stored frontier and checkpoint recomputed from the payloads.

        Args:
            root_of: checks the signature of a checkpoint's note and returns its root. Without it checkpoints are not
                checked, and an attacker who rewrote records, leaf hashes and frontiers consistently is not detected.

        Raises:
            LogCorrupt: the first record, frontier or checkpoint that does not match, which the message names.
        """
        with self._connected() as connection:
            size, tree = stored_size(connection), segment_start(connection)
            marks = {mark.size: mark.frontier for mark in connection.execute(select(MARK))}
            notes = {} if root_of is None else dict(_checkpoints(connection))
            beyond = [n for n in (*marks, *notes) if not isinstance(n, int) or not 0 < n <= size]
            if beyond:
                raise LogCorrupt(f"{shown(self._url)}: {size} entries, but a mark or checkpoint of {beyond[0]}")
            if size:
                self._origin(connection)
            first = connection.execute(select(func.min(ENTRY.c.index))).scalar()
            if first is not None and not 0 <= first <= tree.size:
                raise LogCorrupt(f"{shown(self._url)}: the first entry is not entry {tree.size}")

        def check_root() -> None:
            if tree.size in notes and root_of is not None and root_of(notes[tree.size]) != tree.root():
                raise LogCorrupt(f"{shown(self._url)}: the first {tree.size} entries are not those of their checkpoint")

        check_root()
        for index, (payload, leaf) in enumerate(self._rows(tree.size, size), tree.size):
            self._check_leaf(index, payload, leaf)
            tree.append(leaf)
            if tree.size in marks and restored(tree.size, marks[tree.size]) != tree:
                raise LogCorrupt(f"{shown(self._url)}: the mark of {tree.size} entries is not their frontier")
            check_root()
        return tree

    def _rows(self, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
        """Payload and leaf hash of each record of a range."""
        with self._connected() as connection:
            for page in range(start, stop, _PAGE):
                with connection.begin():
                    rows = _page(connection, range(page, min(stop, page + _PAGE)))
                yield from rows

    def _check_leaf(self, index: int, payload: bytes, leaf: bytes) -> None:
        if leaf_hash(payload) != leaf:
            raise LogCorrupt(f"{shown(self._url)}: entry {index} is not what its leaf hash says")

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with LOG_DATABASE.failures_named(self._url), self._engine.connect() as connection:
            yield connection


def _page(connection: Connection, expected: range) -> list[tuple[bytes, bytes]]:
    """Payload and leaf hash of each record of a range."""
    rows = connection.execute(
        select(ENTRY.c.index, ENTRY.c.payload, ENTRY.c.leaf_hash)
        .where(ENTRY.c.index >= expected.start, ENTRY.c.index < expected.stop)
        .order_by(ENTRY.c.index)
    ).all()
    present = segment_start(connection).size
    if expected.start < present and len(rows) < len(expected):
        raise RolledOver(f"the log has rolled over: entries 0 to {present - 1} are in archives")
    require_all(expected, [index for index, _, _ in rows])
    return [
        (stored_bytes(payload, f"entry {index}"), stored_bytes(leaf, f"entry {index}")) for index, payload, leaf in rows
    ]


def _checkpoints(connection: Connection) -> list[tuple[int, bytes]]:
    rows = connection.execute(select(CHECKPOINT.c.size, CHECKPOINT.c.note).order_by(CHECKPOINT.c.size))
    return [(size, stored_bytes(note, f"checkpoint {size}")) for size, note in rows]
