"""Which share of an archive's records is audited: a fixed rate, or as much as a share of the machines can replay."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, func, select

from verifier.audit import check_rate
from verifier.server.database import database_now
from verifier.server.errors import ServerSettingsError
from verifier.server.schema import ARCHIVE, SERVER, TASK

RECENT_ARCHIVES = 20
"""How many of the last archives tell what a record costs."""
MOST_SECONDS = 86_400.0
"""Time that was left unused is not saved up for longer."""


class Selection(Protocol):
    """Says the audit rate of an archive before its records are looked at, so that they cannot influence it."""

    def rate(self, connection: Connection, records: int, now: float, takeover_seconds: float) -> float: ...


@dataclass(frozen=True)
class FixedRate:
    """The same share of every archive."""

    share: float

    def __post_init__(self) -> None:
        check_rate(self.share)

    def rate(self, connection: Connection, records: int, now: float, takeover_seconds: float) -> float:
        """The share, in (0, 1]."""
        return self.share


@dataclass(frozen=True, kw_only=True)
class ComputeBudget:
    """As much as fits into a share of the machines' time, and never less than a least rate.

    Since the archive before, the living servers could replay so many tokens, at the speed that they measured and the
    share of their time that they may use; what still waits is taken off. What is left, by what the archive's records
    are expected to cost, is the rate. Where not even the least rate fits, the servers fall behind, and say so.
    """

    least: float

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ServerSettingsError(f"a least audit rate lies in (0, 1], not {self.least}")

    def rate(self, connection: Connection, records: int, now: float, takeover_seconds: float) -> float:
        """The share for an archive of so many records, in [least, 1]."""
        recent = select(ARCHIVE.c.cost, ARCHIVE.c.records, ARCHIVE.c.checked).where(ARCHIVE.c.checked.is_not(None))
        rows = connection.execute(recent.order_by(ARCHIVE.c.checked.desc()).limit(RECENT_ARCHIVES)).all()
        if not rows:
            return self.least
        alive = SERVER.c.seen > database_now(connection) - takeover_seconds
        speed = SERVER.c.tokens_per_second * SERVER.c.compute_share
        capacity = connection.execute(select(func.coalesce(func.sum(speed), 0.0)).where(alive)).scalar_one()
        waiting = connection.execute(select(func.coalesce(func.sum(TASK.c.cost), 0))).scalar_one()
        seconds = min(max(now - rows[0].checked, 0.0), MOST_SECONDS)
        per_record = sum(row.cost for row in rows) / sum(row.records for row in rows)
        affordable = capacity * seconds - float(waiting)
        return float(min(max(affordable / (per_record * records), self.least), 1.0))
