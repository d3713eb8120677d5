"""The audit rate: a fixed share of the records, or the largest that a share of the machines can replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, func, select

from weightwarden.verifier.audit_selection import check_rate
from weightwarden.verifier.server.database.schema import ARCHIVE, SERIES, SERVER
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.errors import ServerSettingsError

RECENT_ARCHIVES = 20
"""Number of the last archives from which the cost of a record is estimated."""
MAX_SECONDS = 86_400.0
"""Longest time for which unused credit is saved."""


class AuditRate(Protocol):
    """Source of the audit rate of new archives.

    The rate is fixed before their records are read, so that they cannot influence it.
    """

    def rate(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> float: ...

    def spend(self, connection: Connection, cost: int) -> None: ...


@dataclass(frozen=True)
class FixedRate:
    """The same share of every archive."""

    share: float

    def __post_init__(self) -> None:
        check_rate(self.share)

    def rate(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> float:
        """The share, in (0, 1]."""
        return self.share

    def spend(self, connection: Connection, cost: int) -> None:
        """Do nothing: the selected records are audited, however long it takes."""


@dataclass(frozen=True, kw_only=True)
class ComputeBudget:
    """The largest rate that a share of the machines' time can replay, but not less than a least rate.

    The series has a credit, in tokens. It grows by the tokens that the living servers can replay, at their measured
    speed and in the share of their time that they may use, and shrinks by the selected tokens. All archives of one
    search get the same rate: the credit divided by the expected cost of their records. If not even the least rate fits,
    the servers fall behind, and report it.
    """

    least: float

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ServerSettingsError(f"a least audit rate lies in (0, 1], not {self.least}")

    def rate(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> float:
        """The share for archives of so many records together, in [least, 1].

        Args:
            living: names of the living servers.
        """
        speed = SERVER.c.tokens_per_second * SERVER.c.compute_share
        able = select(func.coalesce(func.sum(speed), 0.0)).where(SERVER.c.name.in_(living))
        capacity = float(connection.execute(able).scalar_one())
        credit, since = connection.execute(select(SERIES.c.credit, SERIES.c.credit_at).with_for_update()).one()
        credit = min(credit + capacity * max(now - since, 0.0), capacity * MAX_SECONDS)
        set_series(connection, credit=credit, credit_at=now)
        recent = select(ARCHIVE.c.cost, ARCHIVE.c.records).where(ARCHIVE.c.checked.is_not(None))
        rows = connection.execute(recent.order_by(ARCHIVE.c.checked.desc()).limit(RECENT_ARCHIVES)).all()
        cost = sum(row.cost for row in rows)
        if not cost:
            return self.least
        per_record = cost / sum(row.records for row in rows)
        return float(min(max(credit / (per_record * records), self.least), 1.0))

    def spend(self, connection: Connection, cost: int) -> None:
        """Deduct the selected tokens from the credit."""
        set_series(connection, credit=SERIES.c.credit - cost)
