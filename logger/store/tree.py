"""The Merkle tree of a stored log: its frontier at a size, computed from the nearest stored frontier."""

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import ENTRY, MARK, SEGMENT
from weightwarden.logger.tlog.merkle import HASH_BYTES, Frontier, FrontierError

MARK_EVERY = 4096
"""Distance of stored frontiers: one is stored when an append crosses a multiple of it."""
PAGE = 4096
"""Leaf hashes that are read at a time."""


class RolledOver(LogCorrupt):
    """Records from before the present segment, which are in archives alone."""


def segment_start(connection: Connection) -> Frontier:
    """The tree of all records before the present segment: empty in a log that never rolled over.

    Raises:
        LogCorrupt: the stored frontier is invalid.
    """
    newest = connection.execute(select(SEGMENT).order_by(SEGMENT.c.start.desc()).limit(1)).first()
    return Frontier() if newest is None else restored(newest.start, newest.frontier)


def stored_size(connection: Connection) -> int:
    """Number of records in the log, with those of earlier segments.

    Raises:
        LogCorrupt: the last record has no index.
    """
    last = connection.execute(select(func.max(ENTRY.c.index))).scalar()
    if last is None:
        return segment_start(connection).size
    if not isinstance(last, int):
        raise LogCorrupt("an entry's index is no number")
    return last + 1


def stored_bytes(value: object, place: str) -> bytes:
    """A stored value that must be bytes.

    Raises:
        LogCorrupt: it has another type.
    """
    if not isinstance(value, bytes):
        raise LogCorrupt(f"{place} holds {type(value).__name__}, not bytes")
    return value


def leaf_hashes(connection: Connection, start: int, stop: int) -> Iterator[bytes]:
    """The leaf hashes of records start to stop - 1, read a page at a time.

    Raises:
        LogCorrupt: a leaf hash is missing, or has not 32 bytes.
    """
    for page in range(start, stop, PAGE):
        expected = range(page, min(stop, page + PAGE))
        rows = connection.execute(
            select(ENTRY.c.index, ENTRY.c.leaf_hash)
            .where(ENTRY.c.index >= expected.start, ENTRY.c.index < expected.stop)
            .order_by(ENTRY.c.index)
        ).all()
        require_all(expected, [index for index, _ in rows])
        for index, stored in rows:
            leaf = stored_bytes(stored, f"entry {index}")
            if len(leaf) != HASH_BYTES:
                raise LogCorrupt(f"the leaf hash of entry {index} has {len(leaf)} bytes")
            yield leaf


def require_all(expected: range, found: list[int]) -> None:
    """Check that every index of a range was found once.

    Raises:
        LogCorrupt: an index was not found; the message names the first.
    """
    if list(expected) != found:
        last = min(len(found), len(expected) - 1)
        missing = next((e for e, f in zip(expected, found, strict=False) if e != f), expected[last])
        raise LogCorrupt(f"entry {missing} is missing")


def frontier_at(connection: Connection, size: int) -> Frontier:
    """The frontier of the first `size` records.

    Raises:
        RolledOver: the present segment begins after that size.
        LogCorrupt: a record is missing, or a stored frontier is invalid.
    """
    tree = segment_start(connection)
    if size < tree.size:
        raise RolledOver(f"the log has rolled over: entries 0 to {tree.size - 1} are in archives")
    mark = connection.execute(
        select(MARK.c.size, MARK.c.frontier).where(MARK.c.size <= size).order_by(MARK.c.size.desc()).limit(1)
    ).first()
    if mark is not None and mark.size > tree.size:
        tree = restored(mark.size, mark.frontier)
    tree.extend(leaf_hashes(connection, tree.size, size))
    return tree


def restored(size: int, stored: object) -> Frontier:
    """The frontier in a row of the table `mark` or `segment`.

    Raises:
        LogCorrupt: it is invalid.
    """
    hashes = stored_bytes(stored, f"the frontier of {size} entries")
    try:
        return Frontier.of(size, [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)])
    except FrontierError as error:
        raise LogCorrupt(f"the frontier of {size} entries: {error}") from None
