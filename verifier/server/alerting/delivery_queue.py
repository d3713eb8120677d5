"""Notices of incidents on their way to a webhook or a command: kept until they are taken."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from weightwarden.verifier.server.alerting.incidents import Changed, in_force, state_of
from weightwarden.verifier.server.database.schema import DELIVERY, INCIDENT

STUCK_ATTEMPTS = 5
"""A notice that was refused so often is itself an incident."""
FIRST_WAIT, MAX_WAIT = 2.0, 3600.0
"""Seconds after the first failure, doubled at each further one, and at most."""


@dataclass(frozen=True)
class Notice:
    """What is to be told: its number, which stays the same however often it is sent, and a JSON text."""

    id: int
    channel: str
    body: str
    attempts: int


def announce(connection: Connection, changed: Changed, channels: Sequence[str], now: float) -> None:
    """Have a change of an incident told on every channel."""
    if not channels:
        return
    incident = connection.execute(select(INCIDENT).where(INCIDENT.c.id == changed.incident)).mappings().one()
    others = connection.execute(select(INCIDENT).where(in_force())).mappings().all()
    body = json.dumps(
        {
            "type": f"incident.{changed.change}",
            "timestamp": now,
            "data": {"state": state_of(others), "incident": dict(incident)},
        }
    )
    connection.execute(
        insert(DELIVERY),
        [
            {"incident": changed.incident, "channel": channel, "body": body, "attempts": 0, "due": now}
            for channel in channels
        ],
    )


def next_notice(connection: Connection, channel: str, now: float) -> Notice | None:
    """The notice of a channel that is due for longest."""
    row = connection.execute(
        select(DELIVERY.c.id, DELIVERY.c.channel, DELIVERY.c.body, DELIVERY.c.attempts)
        .where(DELIVERY.c.done.is_(None), DELIVERY.c.due <= now, DELIVERY.c.channel == channel)
        .order_by(DELIVERY.c.due)
        .limit(1)
    ).one_or_none()
    return None if row is None else Notice(*row)


def delivered(connection: Connection, notice: Notice, now: float) -> None:
    """A notice was taken."""
    connection.execute(update(DELIVERY).where(DELIVERY.c.id == notice.id).values(done=now, error=None))


def refused(connection: Connection, notice: Notice, error: str, now: float) -> None:
    """A notice was not taken: it is sent again, later each time, until it is."""
    wait = min(FIRST_WAIT * 2**notice.attempts, MAX_WAIT)
    connection.execute(
        update(DELIVERY)
        .where(DELIVERY.c.id == notice.id)
        .values(attempts=notice.attempts + 1, due=now + wait, error=error)
    )
