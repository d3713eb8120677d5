"""What is wrong now: the evidence, quarantine, silence, backlog and trouble, as conditions of incidents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, func, select

from sampler.errors import printable
from verifier.server.accounts import Accounts
from verifier.server.database import VerdictDatabase, database_now
from verifier.server.deliveries import STUCK_ATTEMPTS, announce
from verifier.server.incidents import Condition, Level, reconcile
from verifier.server.quarantine import GRAVE
from verifier.server.schema import ARCHIVE, DELIVERY, QUARANTINE, SERIES, SERVER
from verifier.server.traffic import traffic_seen

SHOWN = 20
"""Incidents of one kind that quarantine makes, before it counts the rest."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Watches a series.

    Attributes:
        false_alarm: probability that an honest series ever alarms. watch_at: that it is ever to be watched.
        expect_every: seconds within which a new archive is expected. most_lag: seconds that auditing may take.
        channels: what is told of incidents.
    """

    database: VerdictDatabase
    false_alarm: float
    watch_at: float
    expect_every: float
    most_lag: float
    takeover_seconds: float
    channels: Sequence[str]
    clock: Callable[[], float]

    def look(self) -> None:
        """Bring the incidents up to what is so now, and have changes told."""
        now = self.clock()
        with self.database.writing() as connection:
            changes = reconcile(connection, self.conditions(connection, now), now)
            for changed in changes:
                announce(connection, changed, self.channels, now)

    def conditions(self, connection: Connection, now: float) -> list[Condition]:
        """What is wrong now."""
        return [
            *self._evidence(connection),
            *self._quarantine(connection, now),
            *self._silence(connection, now),
            *self._lag(connection, now),
            *self._trouble(connection),
        ]

    def _evidence(self, connection: Connection) -> list[Condition]:
        accounts = Accounts.from_bytes(connection.execute(select(SERIES.c.accounts)).scalar_one())
        found = []
        p_value = accounts.monitor.p_value
        if p_value <= self.watch_at:
            level: Level = "alarm" if p_value <= self.false_alarm else "watch"
            what = (
                f"the audited answers are not what an honest server says: p <= {p_value:.2g}"
                f" (alarm at {self.false_alarm:g}); {int(accounts.totals['flagged'])} of"
                f" {int(accounts.totals['records'])} records flagged"
            )
            found.append(Condition("monitor", f"series {accounts.epoch}", level, what))
        if unverifiable := int(accounts.totals["unverifiable"]):
            what = f"{unverifiable} records could not be replayed and have no verdict"
            found.append(Condition("unverifiable", str(unverifiable), "watch", what))
        return found

    def _quarantine(self, connection: Connection, now: float) -> list[Condition]:
        rows = connection.execute(
            select(QUARANTINE).where(QUARANTINE.c.resolved.is_(None)).order_by(QUARANTINE.c.id)
        ).mappings()
        kinds: dict[str, list[RowMapping]] = {}
        for row in rows:
            kinds.setdefault(row["kind"], []).append(row)
        found = []
        for kind, ones in kinds.items():
            for row in ones[:SHOWN]:
                old = now - row["since"] > self.expect_every
                level: Level = "alarm" if kind in GRAVE or (kind == "gap" and old) else "watch"
                found.append(
                    Condition(
                        "gap" if kind == "gap" else "quarantine",
                        f"entry {row['id']}",
                        level,
                        f"{kind}: {printable(row['place'])}: {row['what']}",
                    )
                )
            if more := len(ones) - SHOWN if len(ones) > SHOWN else 0:
                doublings = more.bit_length()  # each doubling is told anew
                found.append(
                    Condition("quarantine", f"{kind}, more {doublings}", "watch", f"{kind}: {more} more in quarantine")
                )
        return found

    def _silence(self, connection: Connection, now: float) -> list[Condition]:
        since = connection.execute(select(SERIES.c.since)).scalar_one()
        last = traffic_seen(connection, now).last_archive
        quiet = now - max(since, last or since)
        if quiet <= self.expect_every:
            return []
        what = f"no new archive for {quiet / 3600:.1f} hours, expected every {self.expect_every / 3600:.3g}"
        return [Condition("stale", "archives", "stale", what)]

    def _lag(self, connection: Connection, now: float) -> list[Condition]:
        seconds = lag(connection, now)
        if seconds is None or seconds <= self.most_lag:
            return []
        what = f"the audit is {seconds / 3600:.1f} hours behind, at most {self.most_lag / 3600:.3g} are wanted"
        return [Condition("behind", "audit", "watch", what)]

    def _trouble(self, connection: Connection) -> list[Condition]:
        alive = SERVER.c.seen > database_now(connection) - self.takeover_seconds
        troubled = connection.execute(
            select(SERVER.c.trouble).where(alive, SERVER.c.trouble.is_not(None)).order_by(SERVER.c.name).limit(1)
        ).scalar()
        found = []
        if troubled is not None:
            found.append(Condition("trouble", "server", "watch", troubled))
        stuck = connection.execute(
            select(func.count()).where(DELIVERY.c.done.is_(None), DELIVERY.c.attempts >= STUCK_ATTEMPTS)
        ).scalar_one()
        if stuck:
            found.append(Condition("delivery", "notices", "watch", f"{stuck} notices cannot be delivered"))
        return found


def lag(connection: Connection, now: float) -> float | None:
    """Age of the oldest archive that is not done, seconds; None where none waits."""
    oldest = connection.execute(
        select(func.min(ARCHIVE.c.found)).where(ARCHIVE.c.state.in_(("found", "auditing")))
    ).scalar()
    return None if oldest is None else max(now - oldest, 0.0)
