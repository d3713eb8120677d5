"""The sampling design of new archives: a fixed audit rate, or the largest that a share of the machines can replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, func, select

from weightwarden.verifier.audit_selection import check_rate
from weightwarden.verifier.server.database.schema import ARCHIVE, SERIES, SERVER
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.errors import ServerSettingsError
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign

RECENT_ARCHIVES = 20
"""Number of the last archives from which the cost of a record is estimated."""
MAX_SECONDS = 86_400.0
"""Longest time for which unused credit is saved."""


class DesignSource(Protocol):
    """Source of the sampling design of new archives.

    The design is fixed before their records are read, so that they cannot influence it.
    """

    def design(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> SamplingDesign: ...

    def spend(self, connection: Connection, cost: int) -> None: ...


@dataclass(frozen=True)
class FixedRate:
    """The same rate for every archive."""

    share: float
    by: AuditBy = "records"

    def __post_init__(self) -> None:
        check_rate(self.share)

    def design(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> SamplingDesign:
        """The design with this rate."""
        return SamplingDesign(self.share, self.by)

    def spend(self, connection: Connection, cost: int) -> None:
        """Do nothing: the selected records are audited, however long it takes."""


@dataclass(frozen=True, kw_only=True)
class ComputeBudget:
    """The largest rate that a share of the machines' time can replay, but not less than a least rate.

    The series has a credit, in tokens. It grows by the tokens that the living servers can replay, at their measured
    speed and in the share of their time that they may use, and shrinks by the selected tokens. All archives of one
    search get the same rate: the credit divided by the expected cost of their selected records at rate 1. If not even
    the least rate fits, the servers fall behind, and report it. Where the credit is enough for all records, all are
    audited, by tokens too.
    """

    least: float
    by: AuditBy = "records"

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ServerSettingsError(f"a least audit rate lies in (0, 1], not {self.least}")

    def design(self, connection: Connection, records: int, now: float, living: Sequence[str]) -> SamplingDesign:
        """The design for archives of so many records together, with a rate in [least, 1].

        Args:
            living: names of the living servers.
        """
        speed = SERVER.c.tokens_per_second * SERVER.c.compute_share
        able = select(func.coalesce(func.sum(speed), 0.0)).where(SERVER.c.name.in_(living))
        capacity = float(connection.execute(able).scalar_one())
        credit, since = connection.execute(select(SERIES.c.credit, SERIES.c.credit_at).with_for_update()).one()
        credit = min(credit + capacity * max(now - since, 0.0), capacity * MAX_SECONDS)
        set_series(connection, credit=credit, credit_at=now)
        columns = (ARCHIVE.c.records, ARCHIVE.c.cost, ARCHIVE.c.unit_cost)
        recent = select(*columns).where(ARCHIVE.c.checked.is_not(None))
        rows = connection.execute(recent.order_by(ARCHIVE.c.checked.desc()).limit(RECENT_ARCHIVES)).all()
        cost, known = sum(row.cost for row in rows), sum(row.records for row in rows)
        if not cost:
            return SamplingDesign(self.least, self.by)
        if credit * known >= cost * records:
            return SamplingDesign(1.0)
        selected = cost if self.by == "records" else sum(row.unit_cost for row in rows)
        rate = float(credit * known / (selected * records))
        return SamplingDesign(min(max(rate, self.least), 1.0), self.by)

    def spend(self, connection: Connection, cost: int) -> None:
        """Deduct the selected tokens from the credit."""
        set_series(connection, credit=SERIES.c.credit - cost)
