"""Conditions of incidents: evidence, quarantine, missing archives, taps, backlog, trouble."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, log1p

from sqlalchemy import Connection, and_, func, or_, select, update

from weightwarden.logger.archive.storage import listed_url
from weightwarden.text import printable
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.server.accounting.current import ExposureReader, parsed_accounts
from weightwarden.verifier.server.alerting.delivery_queue import STUCK_ATTEMPTS, announce
from weightwarden.verifier.server.alerting.incidents import Changed, Condition, Level, reconcile
from weightwarden.verifier.server.alerting.taps import tap_conditions
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import ARCHIVE, DELIVERY, QUARANTINE, SERIES, SERVER, VERDICT
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.server.ingest.quarantine import GRAVE
from weightwarden.verifier.statistics.rounding import upper
from weightwarden.verifier.verification.series_monitor import CONDITIONAL_SHARE, SeriesMonitor

SHOWN = 20
"""Largest number of incidents of one kind for quarantined archives, the newest; further ones are counted."""
SAID_SECONDS = 10.0
"""Seconds between updates of the time of the last check in the database."""
AHEAD_SECONDS = 60.0
"""Seconds by which the clocks of servers may differ."""
SEVERAL = 3
"""Number of flagged records outside the evidence that are an alarm by themselves."""


@dataclass(frozen=True, kw_only=True)
class ConditionChecker:
    """Checker of the conditions of a series.

    Attributes:
        folders: followed folders. A log without an archive in one of them has ended, and is not waited for.
        exposure: the bandwidth ledger, for the state in notices.
        links_base: what the links in notices begin with, up to a slash.
        model: name of the model among those of the server, for notices; None for the only one.
        alarm_level: probability that an honest series ever alarms.
        watch_level: probability that the evidence of such a series ever puts it into state `watch`.
        archive_interval: seconds within which a new archive is expected.
        egress_reports: folders of taps' reports.
        egress_stale_after: seconds after the end of a tap's newest report from which on the tap is stale.
        max_lag: seconds that auditing may take.
    """

    database: VerdictDatabase
    membership: Membership
    folders: tuple[str, ...]
    exposure: ExposureReader
    links_base: str
    model: str | None
    alarm_level: float
    watch_level: float
    archive_interval: float
    egress_reports: tuple[str, ...]
    egress_stale_after: float
    max_lag: float
    clock: Callable[[], float]

    def look(self) -> None:
        """Update the incidents to the present conditions, and announce changes. Only one server does it at a time."""
        if not self.membership.take("watch"):
            return
        now = self.clock()
        with self.database.writing() as connection:
            self.membership.require(connection, "watch")
            _correct_times(connection, now)
            changes = reconcile(connection, self.conditions(connection, now), now)
            watched = connection.execute(select(SERIES.c.watched)).scalar_one()
            if watched is None or not 0 <= now - watched < SAID_SECONDS:
                set_series(connection, watched=now)
            self.announce(connection, changes, now)

    def announce(self, connection: Connection, changes: Sequence[Changed], now: float) -> None:
        """Queue notices of changes on the channels of all servers."""
        channels = self.membership.all_channels(connection) if changes else []
        if channels:
            conclusive = self.exposure.conclusive(connection, now)
            for changed in changes:
                announce(
                    connection,
                    changed,
                    channels,
                    now,
                    conclusive=conclusive,
                    base=self.links_base,
                    model=self.model,
                )

    def conditions(self, connection: Connection, now: float) -> list[Condition]:
        """The present conditions."""
        return [
            *self._evidence(connection, now),
            *self._quarantine(connection, now),
            *self._silence(connection, now),
            *tap_conditions(connection, self.egress_reports, self.egress_stale_after, now),
            *self._lag(connection, now),
            *self._trouble(connection),
        ]

    def _evidence(self, connection: Connection, now: float) -> list[Condition]:
        data, accounted = connection.execute(select(SERIES.c.accounts, SERIES.c.accounted)).one()
        accounts = parsed_accounts(data)
        found = []
        p_value = accounts.monitor.p_value
        if p_value <= self.watch_level:
            level: Level = "alarm" if p_value <= self.alarm_level else "watch"
            what = (
                f"{bound_text(p_value)} that an honest series ever shows as much (alarm at {self.alarm_level:g}); most"
                f" by {leading_evidence(accounts.monitor)}; {int(accounts.totals['flagged'])} of"
                f" {int(accounts.totals['records'])} audited records are flagged"
            )
            found.append(Condition("monitor", accounts.subject, level, what))
        if unverifiable := int(accounts.totals["unverifiable"]):
            what = f"{unverifiable} records could not be replayed and have no verdict"
            doublings = unverifiable.bit_length()  # each doubling is announced again
            found.append(Condition("unverifiable", f"doubled {doublings} times", "watch", what))
        waiting = (VERDICT.c.position >= accounted, VERDICT.c.at < now - self.max_lag)
        beyond = connection.execute(select(func.count()).where(VERDICT.c.flagged, *waiting)).scalar_one()
        if beyond:
            what = f"{beyond} flagged records are not in the evidence yet: a record before them has no verdict"
            found.append(Condition("unaccounted", "verdicts", "alarm" if beyond >= SEVERAL else "watch", what))
        return found

    def _quarantine(self, connection: Connection, now: float) -> list[Condition]:
        is_open = QUARANTINE.c.resolved.is_(None)
        kinds = connection.execute(
            select(QUARANTINE.c.kind, func.count().label("count"), func.min(QUARANTINE.c.since).label("oldest"))
            .where(is_open)
            .group_by(QUARANTINE.c.kind)
            .order_by(QUARANTINE.c.kind)
        ).all()
        found = []
        for kind, count, oldest in kinds:
            newest = select(QUARANTINE).where(is_open, QUARANTINE.c.kind == kind).order_by(QUARANTINE.c.id.desc())
            for row in connection.execute(newest.limit(SHOWN)).mappings():
                place = f"{row['origin']} from {row['start']}" if kind == "gap" else f"archive {row['archive']}"
                what = f"{printable(row['place'])}: {row['what']}"
                found.append(Condition(kind, place, self._level(kind, row["since"], now), what))
            if count > SHOWN:
                doublings = int(count).bit_length()  # each doubling is announced again
                what = f"{count - SHOWN} more in quarantine"
                subject = f"doubled {doublings} times"
                found.append(Condition(kind, subject, self._level(kind, oldest, now), what))
        return found

    def _level(self, kind: str, since: float, now: float) -> Level:
        """Level of a quarantine: an unaudited archive is grave if it lasts, a copy of an audited one is not."""
        lasts = now - since > self.archive_interval and kind != "duplicate"
        return "alarm" if kind in GRAVE or lasts else "watch"

    def _silence(self, connection: Connection, now: float) -> list[Condition]:
        """Missing archives of each log separately: a log that continues does not hide another that has stopped."""
        since = connection.execute(select(SERIES.c.since)).scalar_one()
        checked = ARCHIVE.c.checked.is_not(None)
        rows = connection.execute(
            select(ARCHIVE.c.origin, func.max(ARCHIVE.c.checked)).where(checked).group_by(ARCHIVE.c.origin)
        ).all()
        newest = {row[0]: row[1] for row in rows}
        followed = {
            origin: last
            for origin, last in newest.items()
            if now - last <= self.archive_interval or self._is_followed(connection, origin)
        }
        found = []
        for origin, last in (followed or {"any log": max(newest.values(), default=since)}).items():
            quiet = now - min(last, now)
            if quiet > self.archive_interval:
                every = f"expected every {self.archive_interval / 3600:.3g}"
                what = f"no new archive of {origin} for {quiet / 3600:.1f} hours, {every}"
                found.append(Condition("stale", origin, "stale", what))
        return found

    def _is_followed(self, connection: Connection, origin: str) -> bool:
        """True if an archive of a log was found in a folder that is followed now."""
        url, prefixes = ARCHIVE.c.url, [f"{listed_url(folder)}/" for folder in self.folders]
        within = or_(
            *(
                and_(func.substr(url, 1, len(prefix)) == prefix, ~func.substr(url, len(prefix) + 1).contains("/"))
                for prefix in prefixes
            )
        )
        inside = select(ARCHIVE.c.id).where(ARCHIVE.c.origin == origin, within)
        return connection.execute(inside.limit(1)).first() is not None

    def _lag(self, connection: Connection, now: float) -> list[Condition]:
        seconds = lag(connection, now)
        if seconds is None or seconds <= self.max_lag:
            return []
        what = f"the audit is {seconds / 3600:.1f} hours behind, at most {self.max_lag / 3600:.3g} are wanted"
        return [Condition("behind", "audit", "watch", what)]

    def _trouble(self, connection: Connection) -> list[Condition]:
        troubled = connection.execute(
            select(SERVER.c.trouble)
            .where(SERVER.c.name.in_(self.membership.living(connection)), SERVER.c.trouble.is_not(None))
            .order_by(SERVER.c.name)
        ).scalars()
        found = [Condition("trouble", "servers", "watch", "; ".join(words)) for words in [list(troubled)] if words]
        stuck = connection.execute(
            select(func.count()).where(
                DELIVERY.c.done.is_(None),
                DELIVERY.c.attempts >= STUCK_ATTEMPTS,
                DELIVERY.c.channel.in_(self.membership.all_channels(connection)),
            )
        ).scalar_one()
        if stuck:
            found.append(Condition("delivery", "notices", "watch", f"{stuck} notices cannot be delivered"))
        return found


def _correct_times(connection: Connection, now: float) -> None:
    """Set times that lie ahead to now, after a clock was set back. Otherwise silence and lag would not show."""
    ahead = now + AHEAD_SECONDS
    connection.execute(update(SERIES).where(SERIES.c.since > ahead).values(since=now))
    for column in (ARCHIVE.c.found, ARCHIVE.c.checked):
        connection.execute(update(ARCHIVE).where(column > ahead).values({column: now}))
    is_open = QUARANTINE.c.resolved.is_(None)
    connection.execute(update(QUARANTINE).where(is_open, QUARANTINE.c.since > ahead).values(since=now))
    unaccounted = VERDICT.c.position >= select(SERIES.c.accounted).scalar_subquery()
    connection.execute(update(VERDICT).where(unaccounted, VERDICT.c.at > ahead).values(at=now))


def leading_evidence(monitor: SeriesMonitor) -> str:
    """The part of the monitor with the most evidence, as text. The monitor has seen a record."""
    flagged = monitor.monitors["flagged"]
    if monitor.conditional.log_best + log(CONDITIONAL_SHARE) > flagged.log_best + log1p(-CONDITIONAL_SHARE):
        return "the conditional test"
    seen = f"{flagged.value / flagged.tokens:.3g} a record"
    return f"flagged records, {seen} where the policy allows {upper(flagged.honest_rate, 3)}"


def lag(connection: Connection, now: float) -> float | None:
    """Age of the oldest unfinished archive, seconds; None without one."""
    oldest = connection.execute(
        select(func.min(ARCHIVE.c.found)).where(ARCHIVE.c.state.in_(("found", "auditing")))
    ).scalar()
    return None if oldest is None else max(now - oldest, 0.0)
