"""The series of a database: one policy, one model, one order of the records for all its verdicts."""

from dataclasses import dataclass

from sqlalchemy import Connection, Row, select, update

from weightwarden.verifier.server.database.schema import LEASE, SERIES
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, insert_new
from weightwarden.verifier.server.errors import OtherSeries

WORKS = ("follow", "egress", "watch", "deliver")
"""Kinds of work that one server does at a time."""


@dataclass(frozen=True, kw_only=True)
class SeriesKey:
    """Policy and model to which a database is bound."""

    policy_digest: str
    model_digest: str


def bind(database: VerdictDatabase, key: SeriesKey, now: float, accounts: bytes) -> None:
    """Bind a new database to a policy and a model, or check that it is bound to them.

    Args:
        accounts: empty accounts.

    Raises:
        OtherSeries: the database is bound to another policy or model.
    """
    first = {
        "id": 1,
        "since": now,
        "policy_digest": key.policy_digest,
        "model_digest": key.model_digest,
        "next_position": 0,
        "accounted": 0,
        "retained_from": 0,
        "accounts": accounts,
        "credit": 0.0,
        "credit_at": now,
    }
    with database.writing() as connection:
        insert_new(connection, SERIES, [first])
        insert_new(connection, LEASE, [{"name": name} for name in WORKS])
        bound = connection.execute(select(SERIES.c.policy_digest, SERIES.c.model_digest)).one()
    for what, ours, theirs in (
        ("policy", key.policy_digest, bound.policy_digest),
        ("model", key.model_digest, bound.model_digest),
    ):
        if ours != theirs:
            raise OtherSeries(
                f"the database holds verdicts under {what} {theirs}, not {ours}: give each policy a database of its own"
            )


def locked_series(connection: Connection) -> Row[int, int, bytes]:
    """next_position, accounted and accounts, locked until the transaction ends."""
    return connection.execute(
        select(SERIES.c.next_position, SERIES.c.accounted, SERIES.c.accounts).with_for_update()
    ).one()


def next_position(connection: Connection) -> int:
    """The first position without a record."""
    return int(connection.execute(select(SERIES.c.next_position)).scalar_one())


def set_series(connection: Connection, **values: object) -> None:
    """Update the series' row."""
    connection.execute(update(SERIES).values(**values))
