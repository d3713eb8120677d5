"""The Merkle tree of a stored log: its frontier at a size, from the nearest mark on."""

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import ENTRY, MARK
from weightwarden.logger.tlog.merkle import HASH_BYTES, Frontier, FrontierError

MARK_EVERY = 4096
"""A mark is kept whenever an append crosses a multiple of this."""
PAGE = 4096
"""Leaf hashes read at a time."""


def stored_size(connection: Connection) -> int:
    """How many entries there are.

    Raises:
        LogCorrupt: the last has no index.
    """
    last = connection.execute(select(func.max(ENTRY.c.index))).scalar()
    if last is None:
        return 0
    if not isinstance(last, int):
        raise LogCorrupt("an entry's index is no number")
    return last + 1


def stored_bytes(value: object, place: str) -> bytes:
    """A value that must be bytes.

    Raises:
        LogCorrupt: it is something else.
    """
    if not isinstance(value, bytes):
        raise LogCorrupt(f"{place} holds {type(value).__name__}, not bytes")
    return value


def leaf_hashes(connection: Connection, start: int, stop: int) -> Iterator[bytes]:
    """The leaf hashes of entries start to stop - 1, a page at a time.

    Raises:
        LogCorrupt: one is missing, or not 32 bytes.
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
    """Check that every index of a range is there, once.

    Raises:
        LogCorrupt: naming the first that is not.
    """
    if list(expected) != found:
        last = min(len(found), len(expected) - 1)
        missing = next((e for e, f in zip(expected, found, strict=False) if e != f), expected[last])
        raise LogCorrupt(f"entry {missing} is missing")


def frontier_at(connection: Connection, size: int) -> Frontier:
    """The frontier of the first `size` entries.

    Raises:
        LogCorrupt: an entry before it is missing, or a mark is no frontier.
    """
    mark = connection.execute(
        select(MARK.c.size, MARK.c.frontier).where(MARK.c.size <= size).order_by(MARK.c.size.desc()).limit(1)
    ).first()
    tree = Frontier() if mark is None else restored(mark.size, mark.frontier)
    tree.extend(leaf_hashes(connection, tree.size, size))
    return tree


def restored(size: int, stored: object) -> Frontier:
    """The frontier that a mark holds.

    Raises:
        LogCorrupt: it is none.
    """
    hashes = stored_bytes(stored, f"mark {size}")
    try:
        return Frontier.of(size, [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)])
    except FrontierError as error:
        raise LogCorrupt(f"mark {size}: {error}") from None
