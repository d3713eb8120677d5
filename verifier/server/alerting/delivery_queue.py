"""Queue of notices of incidents for a webhook or a command; a notice stays until it is accepted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, or_, select, update

from weightwarden.verifier.server.alerting.incident_kinds import KINDS, links_of
from weightwarden.verifier.server.alerting.incidents import Changed, in_force, state_of
from weightwarden.verifier.server.database.schema import DELIVERY, INCIDENT

STUCK_ATTEMPTS = 5
"""Number of refusals after which a notice is itself an incident."""
FIRST_WAIT, MAX_WAIT = 2.0, 3600.0
"""Seconds before the first retry, doubled after each failure, and their maximum."""


@dataclass(frozen=True)
class Notice:
    """A notice: its number, which is the same for all attempts, and a JSON text."""

    id: int
    channel: str
    body: str
    attempts: int


def announce(
    connection: Connection,
    changed: Changed,
    channels: Sequence[str],
    now: float,
    *,
    conclusive: bool,
    base: str,
    model: str | None = None,
) -> None:
    """Queue a notice of a change of an incident on every channel.

    Args:
        conclusive: whether the audit is conclusive, for the state in the notice.
        base: what the links begin with, up to a slash: the URL of the dashboard; empty for relative links.
        model: name of the model among those of the server; None for the only one.
    """
    incident = connection.execute(select(INCIDENT).where(INCIDENT.c.id == changed.incident)).mappings().one()
    others = connection.execute(select(INCIDENT).where(in_force())).mappings().all()
    kind = KINDS[incident["kind"]]
    links = links_of(incident["kind"], incident["id"])
    body = json.dumps(
        {
            "type": f"incident.{changed.change}",
            "timestamp": now,
            "data": {
                "state": state_of(others, conclusive=conclusive),
                "title": kind.title,
                "concern": kind.concern,
                "explanation": kind.explanation,
                "steps": kind.steps,
                "links": {name: f"{base}/{path}" for name, path in links.items()},
                **({} if model is None else {"model": model}),
                "incident": dict(incident),
            },
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
    """The notice of a channel that has been due for longest."""
    row = connection.execute(
        select(DELIVERY.c.id, DELIVERY.c.channel, DELIVERY.c.body, DELIVERY.c.attempts)
        .where(
            DELIVERY.c.done.is_(None),
            or_(DELIVERY.c.due <= now, DELIVERY.c.due > now + 2 * MAX_WAIT),  # the clock was set back
            DELIVERY.c.channel == channel,
        )
        .order_by(DELIVERY.c.due)
        .limit(1)
    ).one_or_none()
    return None if row is None else Notice(*row)


def delivered(connection: Connection, notice: Notice, now: float) -> None:
    """Remove an accepted notice."""
    connection.execute(update(DELIVERY).where(DELIVERY.c.id == notice.id).values(done=now, error=None))


def refused(connection: Connection, notice: Notice, error: str, now: float) -> None:
    """Schedule another attempt for a refused notice, later each time."""
    wait = min(FIRST_WAIT * 2**notice.attempts, MAX_WAIT)
    connection.execute(
        update(DELIVERY)
        .where(DELIVERY.c.id == notice.id)
        .values(attempts=notice.attempts + 1, due=now + wait, error=error)
    )
