"""Incidents: conditions that an operator must know of.

An incident is opened once for each subject, raised, ended, acknowledged, and never removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from weightwarden.errors import WeightwardenError
from weightwarden.verifier.server.database.schema import INCIDENT

Level = Literal["watch", "stale", "alarm"]
LEVELS: tuple[Level, ...] = ("watch", "stale", "alarm")
"""Levels of incidents in ascending order of severity."""
State = Literal["clear", "inconclusive", "watch", "stale", "alarm"]
STATES: tuple[State, ...] = ("clear", "inconclusive", *LEVELS)
"""States of a series in ascending order of severity."""
Change = Literal["opened", "ended", "acknowledged"]


class NoSuchIncident(WeightwardenError, KeyError):
    """The incident of this number does not exist."""


class AlreadyAcknowledged(WeightwardenError, ValueError):
    """The incident was acknowledged before; the first acknowledgement is kept."""


@dataclass(frozen=True)
class Condition:
    """A present condition: its kind, subject, level, and description."""

    kind: str
    subject: str
    level: Level
    what: str


@dataclass(frozen=True)
class Changed:
    """A change of an incident."""

    change: Change
    incident: int


def in_force() -> "or_":  # type: ignore[valid-type]
    """Incidents in force: lasting ones, and alarms without an acknowledgement, lasting or not."""
    return or_(INCIDENT.c.ended.is_(None), (INCIDENT.c.level == "alarm") & INCIDENT.c.acknowledged.is_(None))


def level_in_force(incident: RowMapping) -> Level:
    """The level of an incident in force. An acknowledged one counts as `watch`."""
    return "watch" if incident["acknowledged"] is not None else incident["level"]


def state_of(incidents: Sequence[RowMapping], *, conclusive: bool) -> State:
    """The state from the incidents in force: the gravest level.

    Without incidents the state is clear only if the audit is conclusive.
    """
    levels = [level_in_force(incident) for incident in incidents]
    return max(levels, key=LEVELS.index, default="clear" if conclusive else "inconclusive")


def reconcile(connection: Connection, conditions: Sequence[Condition], now: float) -> list[Changed]:
    """Open incidents for new conditions, and for those that became graver; end the incidents of past conditions.

    A condition whose incident was acknowledged opens no new one, unless it became graver.
    """
    changes: list[Changed] = []
    lasting = {
        (row.kind, row.subject): row
        for row in connection.execute(select(INCIDENT).where(INCIDENT.c.ended.is_(None)).with_for_update())
    }
    current = {(condition.kind, condition.subject): condition for condition in conditions}
    for key, condition in current.items():
        row = lasting.get(key)
        if row is not None and LEVELS.index(condition.level) > LEVELS.index(row.level):
            connection.execute(update(INCIDENT).where(INCIDENT.c.id == row.id).values(ended=now))
            row = None
        if row is None:
            number = connection.execute(
                insert(INCIDENT)
                .values(
                    kind=condition.kind,
                    subject=condition.subject,
                    level=condition.level,
                    what=condition.what,
                    opened=now,
                )
                .returning(INCIDENT.c.id)
            ).scalar_one()
            changes.append(Changed("opened", number))
        elif condition.what != row.what:
            connection.execute(update(INCIDENT).where(INCIDENT.c.id == row.id).values(what=condition.what))
    for key, row in lasting.items():
        if key not in current:
            connection.execute(update(INCIDENT).where(INCIDENT.c.id == row.id).values(ended=now))
            changes.append(Changed("ended", row.id))
    return changes


def acknowledge(connection: Connection, number: int, by: str, reason: str, now: float) -> RowMapping:
    """Store the operator's acknowledgement of an incident. Return the incident.

    Raises:
        NoSuchIncident: the incident does not exist.
        AlreadyAcknowledged: the incident was acknowledged before.
    """
    found = (
        connection.execute(select(INCIDENT).where(INCIDENT.c.id == number).with_for_update()).mappings().one_or_none()
    )
    if found is None:
        raise NoSuchIncident(f"there is no incident {number}")
    if found["acknowledged"] is not None:
        raise AlreadyAcknowledged(f"incident {number} was acknowledged before, by {found['acknowledged_by']}")
    values = {"acknowledged": now, "acknowledged_by": by, "reason": reason}
    connection.execute(update(INCIDENT).where(INCIDENT.c.id == number).values(**values))
    return connection.execute(select(INCIDENT).where(INCIDENT.c.id == number)).mappings().one()
