"""Changes that the log's writer makes in a transaction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.schema import (
    CHECKPOINT,
    COSIGNATURE,
    DRAFT,
    DRAFT_TOKENS,
    ENTRY,
    MARK,
    OPEN_SEED,
    REQUEST,
    SEED_BLOCK,
    START,
)
from weightwarden.logger.store.tree import MARK_EVERY
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

_VARIABLES = 8192
"""Largest number of values in a statement, below the limits of SQLite (32,766) and PostgreSQL (65,535)."""


class Entry:
    """A record for the log, with its stamp. `draft` is the draft that it ends; without that draft it is not written."""

    __slots__ = ("draft", "leaf", "payload", "stamp")

    def __init__(self, payload: bytes, draft: int | None = None, stamp: RequestStamp | None = None) -> None:
        self.payload, self.draft, self.stamp, self.leaf = payload, draft, stamp, leaf_hash(payload)


class DraftTokens(NamedTuple):
    """Tokens of a draft from position `at` on. `payload` is set when the draft begins, with or without tokens.

    `stamp` is written with the payload. `replacement` replaces the payload.
    """

    draft: int
    at: int
    tokens: bytes
    payload: bytes | None
    stamp: RequestStamp | None = None
    replacement: bytes | None = None


@dataclass(frozen=True, slots=True)
class SeedBlock:
    """A block of `count` seed counters, never handed out again."""

    count: int


@dataclass(frozen=True, slots=True)
class NewStart:
    """A start of the logger, with the random bytes on which its seeds depend."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class OpenSeed:
    """The seed of a request that is not complete.

    Attributes:
        start: number of the start under which it was issued.
        counter: the seed's counter.
        request: digest of the request.
        issued_at: Unix time, seconds.
    """

    start: int
    counter: int
    request: bytes
    issued_at: int


@dataclass(frozen=True, slots=True)
class ClosedSeeds:
    """Counters of open seeds that are no longer kept."""

    counters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A signed checkpoint. It is recorded unless one of its size or a larger size exists."""

    size: int
    note: bytes


@dataclass(frozen=True, slots=True)
class NewCosignature:
    """A cosignature of a recorded checkpoint. It is recorded unless the witness's cosignature of that size exists.

    Attributes:
        size: the checkpoint's size.
        witness: the witness's key, as text.
        line: the signature line.
    """

    size: int
    witness: str
    line: str


Change = Entry | DraftTokens | SeedBlock | NewStart | OpenSeed | ClosedSeeds | SignedCheckpoint | NewCosignature


def size_of(change: Change) -> int:
    """Approximate number of bytes that a change writes."""
    if isinstance(change, Entry):
        return len(change.payload)
    if isinstance(change, DraftTokens):
        return len(change.tokens) + len(change.payload or b"") + len(change.replacement or b"")
    return 0


@dataclass
class _Rows:
    """Rows to insert, by table, in an order that foreign keys allow."""

    rows: dict[Table, list[dict[str, Any]]] = field(
        default_factory=lambda: {table: [] for table in (DRAFT, DRAFT_TOKENS, ENTRY, REQUEST, MARK, OPEN_SEED)}
    )

    def insert(self, connection: Connection) -> None:
        for table, rows in self.rows.items():
            if rows:
                connection.execute(insert(table), rows)


def apply(connection: Connection, changes: Sequence[Change], tree: Frontier) -> list[int | None]:
    """Make changes in order, within the caller's transaction.

    Args:
        connection: connection with an open transaction.
        changes: the changes.
        tree: tree of all records so far. New records are added to it.

    Returns:
        For each change: the index of its record, or None where its draft was ended before; the first of its seed
        counters; the number of a start; the size of the newest checkpoint; 1 for a cosignature that is
        recorded now; 0 for others.
    """
    new, before = _Rows(), tree.size
    ended = {change.draft for change in changes if isinstance(change, Entry) and change.draft is not None}
    for change in changes:
        if isinstance(change, DraftTokens):
            if change.payload is not None:
                request_id, begun = change.stamp or (None, None)
                draft = {"id": change.draft, "payload": change.payload, "request_id": request_id, "begun": begun}
                new.rows[DRAFT].append(draft)
            if change.tokens:
                new.rows[DRAFT_TOKENS].append({"draft": change.draft, "at": change.at, "tokens": change.tokens})
    new.insert(connection)
    for change in changes:
        if isinstance(change, DraftTokens) and change.replacement is not None:
            changed = update(DRAFT).where(DRAFT.c.id == change.draft).values(payload=change.replacement)
            connection.execute(changed)
    new = _Rows()
    open_drafts = _removed(connection, ended)
    results: list[int | None] = []
    closed: list[int] = []
    for change in changes:
        if isinstance(change, SeedBlock):
            results.append(_reserved(connection, change.count))
        elif isinstance(change, NewStart):
            results.append(_started(connection, change))
        elif isinstance(change, SignedCheckpoint):
            results.append(_signed(connection, change))
        elif isinstance(change, NewCosignature):
            results.append(_cosigned(connection, change))
        elif isinstance(change, ClosedSeeds):
            closed += change.counters
            results.append(0)
        elif isinstance(change, OpenSeed):
            new.rows[OPEN_SEED].append(asdict(change))
            results.append(0)
        elif isinstance(change, DraftTokens):
            results.append(0)
        elif change.draft is not None and change.draft not in open_drafts:
            results.append(None)
        else:
            if change.draft is not None:
                open_drafts.remove(change.draft)
            results.append(tree.size)
            new.rows[ENTRY].append({"index": tree.size, "leaf_hash": change.leaf, "payload": change.payload})
            if change.stamp is not None:
                request_id, time = change.stamp
                new.rows[REQUEST].append({"index": tree.size, "time": time, "request_id": request_id})
            tree.append(change.leaf)
    if before // MARK_EVERY != tree.size // MARK_EVERY:
        new.rows[MARK].append({"size": tree.size, "frontier": b"".join(tree.hashes)})
    new.insert(connection)
    for at in range(0, len(closed), _VARIABLES):  # after the insertion: a counter is opened once, and closed later
        connection.execute(delete(OPEN_SEED).where(OPEN_SEED.c.counter.in_(closed[at : at + _VARIABLES])))
    return results


def _removed(connection: Connection, drafts: set[int]) -> set[int]:
    """Remove drafts, and return those that existed."""
    if not drafts:
        return set()
    connection.execute(delete(DRAFT_TOKENS).where(DRAFT_TOKENS.c.draft.in_(drafts)))
    return set(connection.execute(delete(DRAFT).where(DRAFT.c.id.in_(drafts)).returning(DRAFT.c.id)).scalars())


def _reserved(connection: Connection, count: int) -> int:
    """The first of `count` seed counters, now reserved."""
    first = int(connection.execute(select(func.coalesce(func.max(SEED_BLOCK.c.end), 0))).scalar_one())
    connection.execute(insert(SEED_BLOCK), {"end": first + count})
    return first


def _started(connection: Connection, start: NewStart) -> int:
    """The number of a start, now recorded."""
    number = int(connection.execute(select(func.coalesce(func.max(START.c.number), 0))).scalar_one()) + 1
    connection.execute(insert(START), {"number": number, "nonce": start.nonce})
    return number


def _signed(connection: Connection, checkpoint: SignedCheckpoint) -> int:
    """The size of the newest checkpoint, after this one is recorded if it is newer."""
    newest = int(connection.execute(select(func.coalesce(func.max(CHECKPOINT.c.size), 0))).scalar_one())
    if checkpoint.size > newest:
        connection.execute(insert(CHECKPOINT), {"size": checkpoint.size, "note": checkpoint.note})
    return max(newest, checkpoint.size)


def _cosigned(connection: Connection, cosigned: NewCosignature) -> int:
    """1 if the cosignature is recorded now; 0 if its checkpoint is not there, or has a cosignature of the witness."""
    checkpoint = select(CHECKPOINT.c.size).where(CHECKPOINT.c.size == cosigned.size)
    earlier = select(COSIGNATURE.c.size).where(
        COSIGNATURE.c.size == cosigned.size, COSIGNATURE.c.witness == cosigned.witness
    )
    if connection.execute(checkpoint).first() is None or connection.execute(earlier).first() is not None:
        return 0
    connection.execute(insert(COSIGNATURE), asdict(cosigned))
    return 1
