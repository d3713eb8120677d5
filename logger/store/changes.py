"""What a transaction of the log's writer can change, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select

from logger.merkle import Frontier, leaf_hash
from logger.store.schema import DRAFT, DRAFT_TOKENS, ENTRY, MARK, SEED_BLOCK
from logger.store.tree import MARK_EVERY


class Entry:
    """An entry of the log; `draft` is the draft that it ends, without which it is not written."""

    __slots__ = ("draft", "leaf", "payload")

    def __init__(self, payload: bytes, draft: int | None = None) -> None:
        self.payload, self.draft, self.leaf = payload, draft, leaf_hash(payload)


class DraftTokens(NamedTuple):
    """Tokens of a draft from position `at` on; `payload` is there when the draft begins, with tokens or without."""

    draft: int
    at: int
    tokens: bytes
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class SeedBlock:
    """So many seed counters, never to be handed out again."""

    count: int


Change = Entry | DraftTokens | SeedBlock


def size_of(change: Change) -> int:
    """About how many bytes a change writes."""
    if isinstance(change, Entry):
        return len(change.payload)
    return len(change.tokens) + len(change.payload or b"") if isinstance(change, DraftTokens) else 0


@dataclass
class _Rows:
    """Rows to insert, by table, in an order that foreign keys allow."""

    rows: dict[Table, list[dict[str, Any]]] = field(
        default_factory=lambda: {table: [] for table in (DRAFT, DRAFT_TOKENS, ENTRY, MARK)}
    )

    def insert(self, connection: Connection) -> None:
        for table, rows in self.rows.items():
            if rows:
                connection.execute(insert(table), rows)


def apply(connection: Connection, changes: Sequence[Change], tree: Frontier) -> list[int | None]:
    """Make changes, in their order, within a transaction of the caller's.

    Args:
        tree: of all entries so far; those that are added are added to it, too.

    Returns:
        For each change: the index of its entry, None where the draft that it ends was ended before; the first of its
        seed counters; for draft tokens 0.
    """
    new, before = _Rows(), tree.size
    ended = {change.draft for change in changes if isinstance(change, Entry) and change.draft is not None}
    for change in changes:
        if isinstance(change, DraftTokens):
            if change.payload is not None:
                new.rows[DRAFT].append({"id": change.draft, "payload": change.payload})
            if change.tokens:
                new.rows[DRAFT_TOKENS].append({"draft": change.draft, "at": change.at, "tokens": change.tokens})
    new.insert(connection)
    new = _Rows()
    open_drafts = _removed(connection, ended)
    results: list[int | None] = []
    for change in changes:
        if isinstance(change, SeedBlock):
            results.append(_reserved(connection, change.count))
        elif isinstance(change, DraftTokens):
            results.append(0)
        elif change.draft is not None and change.draft not in open_drafts:
            results.append(None)
        else:
            if change.draft is not None:
                open_drafts.remove(change.draft)
            results.append(tree.size)
            new.rows[ENTRY].append({"index": tree.size, "leaf_hash": change.leaf, "payload": change.payload})
            tree.append(change.leaf)
    if before // MARK_EVERY != tree.size // MARK_EVERY:
        new.rows[MARK].append({"size": tree.size, "frontier": b"".join(tree.hashes)})
    new.insert(connection)
    return results


def _removed(connection: Connection, drafts: set[int]) -> set[int]:
    """Remove drafts; those that were there."""
    if not drafts:
        return set()
    connection.execute(delete(DRAFT_TOKENS).where(DRAFT_TOKENS.c.draft.in_(drafts)))
    return set(connection.execute(delete(DRAFT).where(DRAFT.c.id.in_(drafts)).returning(DRAFT.c.id)).scalars())


def _reserved(connection: Connection, count: int) -> int:
    """The first of `count` seed counters that nobody else gets."""
    first = int(connection.execute(select(func.coalesce(func.max(SEED_BLOCK.c.end), 0))).scalar_one())
    connection.execute(insert(SEED_BLOCK), {"end": first + count})
    return first
