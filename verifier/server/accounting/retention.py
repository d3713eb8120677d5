"""Retention: old verdicts and their token evidence are removed, and what alarms, accounts and charts need stays."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, and_, cast, delete, func, select

from weightwarden.logger.serving.event_log import Events
from weightwarden.verifier.server.database.schema import (
    ARCHIVE,
    DELIVERY,
    EVIDENCE,
    INCIDENT,
    RATE_POINT,
    SERIES,
    VERDICT,
)
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

PAGE = 1000
"""Number of verdicts, chart points and notices of one transaction."""
HOUR = 3600
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Remover of what is older than a number of days; several servers may remove at once.

    It removes, in the order of their positions, the verdicts that the accounts and the limit of the series include,
    and their evidence. The
    verdicts and the evidence of flagged and of unverifiable records stay. While an alarm by evidence has no
    acknowledgement, no verdict is removed. It also removes delivered notices, and chart points but the last of each
    hour.

    Attributes:
        days: days that verdicts are kept; None for ever.
    """

    database: VerdictDatabase
    days: float | None
    clock: Callable[[], float]
    events: Events

    def remove(self) -> bool:
        """Remove a page of what is too old, in one transaction. Return whether there may be more."""
        if self.days is None:
            return False
        with self.database.writing() as connection:
            before = self.clock() - self.days * DAY
            verdicts, more = self._verdicts(connection, before)
            points = self._points(connection, before)
            notices = self._notices(connection, before)
        if verdicts or points or notices:
            self.events.say("removed", verdicts=verdicts, points=points, notices=notices)
        return more or points == PAGE or notices == PAGE

    def _verdicts(self, connection: Connection, before: float) -> tuple[int, bool]:
        """Remove verdicts. Return their number, and whether there may be more.

        1. Take the next verdicts of the accounts and the limit, up to the first that is too young.
        2. Remove those that nobody needs, with their evidence.
        3. Store the position reached.
        """
        if _alarmed(connection):
            return 0, False
        # 1
        series = connection.execute(select(SERIES.c.accounted, SERIES.c.retained_from).with_for_update()).one()
        begin = func.min(ARCHIVE.c.position_end - ARCHIVE.c.selected)
        uncounted = connection.execute(select(begin).where(ARCHIVE.c.unaudited.is_not(None))).scalar()
        end = series.accounted if uncounted is None else min(series.accounted, uncounted)
        rows = connection.execute(
            select(VERDICT.c.position, VERDICT.c.at)
            .where(VERDICT.c.position >= series.retained_from, VERDICT.c.position < end)
            .order_by(VERDICT.c.position)
            .limit(PAGE)
        ).all()
        old = next((place for place, row in enumerate(rows) if row.at >= before), len(rows))
        if not old:
            return 0, False
        first, end = rows[0].position, rows[old - 1].position + 1
        # 2
        superfluous = and_(
            VERDICT.c.position >= first, VERDICT.c.position < end, ~VERDICT.c.flagged, ~VERDICT.c.unverifiable
        )
        with_evidence = select(VERDICT.c.position).where(superfluous, VERDICT.c.evidence)
        connection.execute(delete(EVIDENCE).where(EVIDENCE.c.position.in_(with_evidence)))
        removed = connection.execute(delete(VERDICT).where(superfluous)).rowcount
        # 3
        set_series(connection, retained_from=end)
        return removed, old == PAGE

    def _points(self, connection: Connection, before: float) -> int:
        """Remove chart points but the last of each hour. Return their number."""
        hour = cast(RATE_POINT.c.at, BigInteger) // HOUR
        oldest = select(RATE_POINT.c.id, hour.label("hour")).where(RATE_POINT.c.at < before).subquery()
        last = select(func.max(oldest.c.id)).group_by(oldest.c.hour)
        extra = select(oldest.c.id).where(oldest.c.id.not_in(last)).order_by(oldest.c.id).limit(PAGE)
        return connection.execute(delete(RATE_POINT).where(RATE_POINT.c.id.in_(extra))).rowcount

    def _notices(self, connection: Connection, before: float) -> int:
        """Remove notices that were accepted. Return their number."""
        accepted = select(DELIVERY.c.id).where(DELIVERY.c.done < before).order_by(DELIVERY.c.done).limit(PAGE)
        return connection.execute(delete(DELIVERY).where(DELIVERY.c.id.in_(accepted))).rowcount


def _alarmed(connection: Connection) -> bool:
    """True while an alarm by evidence has no acknowledgement."""
    alarm = select(INCIDENT.c.id).where(
        INCIDENT.c.acknowledged.is_(None), INCIDENT.c.level == "alarm", INCIDENT.c.kind.in_(("monitor", "unaccounted"))
    )
    return connection.execute(alarm.limit(1)).first() is not None
