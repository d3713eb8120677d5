"""Queue of selected records: leased, given back, and replaced by their verdicts in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import ARCHIVE, EVIDENCE, TASK, VERDICT
from weightwarden.verifier.server.database.series import next_position
from weightwarden.verifier.server.database.verdict_database import database_now
from weightwarden.verifier.server.errors import LeaseLost

MAX_ATTEMPTS = 5
"""Number of attempts after which a record is unverifiable: it crashed its server, or failed where others succeeded."""
FIRST_WAIT = 20.0
"""Seconds until the retry of a record that could not be replayed, doubled each time."""
LONGEST_WAIT = FIRST_WAIT * 2**MAX_ATTEMPTS
"""Seconds that no retry waits."""


@dataclass(frozen=True)
class Task:
    """A record to replay: its canonical bytes, its place, and the number of earlier attempts."""

    position: int
    archive: int
    index: int
    payload: bytes
    cost: int
    tokens: int
    attempts: int


def lease(membership: Membership, most_records: int, most_cost: int) -> list[Task]:
    """Take the first records that no other living server works on. A record with earlier attempts is taken alone.

    A server works on one lease at a time: older leases of its own remain from a failure of the database.

    Args:
        most_cost: largest number of their tokens, prompts included; a longer record is taken alone.
    """
    with membership.database.writing() as connection:
        rows = connection.execute(
            select(TASK.c.position, TASK.c.cost, TASK.c.attempts)
            .where(_is_free(membership, connection))
            .order_by(TASK.c.position)
            .limit(most_records)
            .with_for_update(skip_locked=True)
        ).all()
        chosen: list[int] = []
        cost = 0
        for row in rows:
            cost += row.cost
            if chosen and (cost > most_cost or row.attempts):
                break
            chosen.append(row.position)
            if row.attempts:
                break
        if not chosen:
            return []
        mine = TASK.c.position.in_(chosen)
        connection.execute(update(TASK).where(mine).values(owner=membership.name, attempts=TASK.c.attempts + 1))
        taken = connection.execute(select(TASK).where(mine).order_by(TASK.c.position)).mappings()
        names = ("position", "archive", "index", "payload", "cost", "tokens")
        return [Task(**{name: row[name] for name in names}, attempts=row["attempts"] - 1) for row in taken]


def waits(membership: Membership) -> bool:
    """True if a record waits that this server could take now."""
    with membership.database.reading() as connection:
        free = select(TASK.c.position).where(_is_free(membership, connection)).limit(1)
        return connection.execute(free).first() is not None


def _is_free(membership: Membership, connection: Connection) -> ColumnElement[bool]:
    """Condition of a record that is due, and that no other living server works on."""
    now, left = database_now(connection), TASK.c.owner == membership.name
    free = or_(TASK.c.owner.is_(None), left, TASK.c.owner.not_in(membership.living(connection)))
    due = or_(TASK.c.due <= now, TASK.c.due > now + LONGEST_WAIT)  # the clock was set back
    return and_(TASK.c.position < next_position(connection), free, due)


def give_back(membership: Membership, tasks: Sequence[Task]) -> None:
    """Release records to other servers, as if they had never been taken."""
    with membership.database.writing() as connection:
        connection.execute(
            update(TASK)
            .where(TASK.c.position.in_([task.position for task in tasks]), TASK.c.owner == membership.name)
            .values(owner=None, attempts=TASK.c.attempts - 1)
        )


def put_off(membership: Membership, task: Task) -> None:
    """Postpone a record that could not be replayed, and release the others."""
    with membership.database.writing() as connection:
        due = database_now(connection) + FIRST_WAIT * 2**task.attempts
        connection.execute(
            update(TASK)
            .where(TASK.c.position == task.position, TASK.c.owner == membership.name)
            .values(owner=None, due=due)
        )


def complete(
    membership: Membership,
    tasks: Sequence[Task],
    verdicts: Sequence[dict[str, Any]],
    evidence: Sequence[dict[str, Any]],
) -> None:
    """Replace records by their verdicts: all of them, once, or none.

    Args:
        verdicts: rows of the table of verdicts.
        evidence: rows of the table of evidence.

    Raises:
        LeaseLost: another server works on one of them; nothing was stored.
    """
    with membership.database.writing() as connection:
        done = connection.execute(
            delete(TASK).where(TASK.c.position.in_([task.position for task in tasks]), TASK.c.owner == membership.name)
        ).rowcount
        if done != len(tasks):
            raise LeaseLost("another server took these records over")
        connection.execute(insert(VERDICT), list(verdicts))
        if evidence:
            connection.execute(insert(EVIDENCE), list(evidence))


def finish_archives(connection: Connection, now: float) -> None:
    """Mark the archives without waiting selected records."""
    waiting = select(TASK.c.position).where(TASK.c.archive == ARCHIVE.c.id).exists()
    connection.execute(
        update(ARCHIVE).where(ARCHIVE.c.state == "auditing", ~waiting).values(state="audited", audited=now)
    )


def held_by_others(connection: Connection, name: str) -> bool:
    """True if another server than the named one holds a record."""
    held = select(TASK.c.position).where(TASK.c.owner.is_not(None), TASK.c.owner != name).limit(1)
    return connection.execute(held).first() is not None


@dataclass(frozen=True)
class Backlog:
    """Number of waiting records, their output tokens, and all their tokens."""

    records: int
    tokens: int
    cost: int


def backlog(connection: Connection) -> Backlog:
    """The records that wait for a verdict."""
    sums = (func.coalesce(func.sum(column), 0) for column in (TASK.c.tokens, TASK.c.cost))
    row = connection.execute(select(func.count(), *sums).select_from(TASK)).one()
    return Backlog(int(row[0]), int(row[1]), int(row[2]))
