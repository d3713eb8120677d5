"""The followed taps as they are now, and the conditions of their incidents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, exists, func, select

from weightwarden.text import printable
from weightwarden.verifier.server.alerting.incidents import Condition
from weightwarden.verifier.server.database.schema import EGRESS_REPORT, INCIDENT, SERIES
from weightwarden.verifier.server.ingest.egress_report import AHEAD_SECONDS

TapState = Literal["none", "clear", "watch", "stale", "unexplained"]
TAP_STATES: tuple[TapState, ...] = ("none", "clear", "watch", "stale", "unexplained")
SHOWN = 20
"""Largest number of incidents of a kind, the newest; further ones are counted."""


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A followed tap.

    Attributes:
        folder: folder of its reports.
        state: `none` without a report; `unexplained` while a report with unexplained frames is in force; `stale` if
            the newest report ends too long ago; else the verdict of the newest report.
        newest: row of the report that ends last, or None.
        unexplained: rows of the reports with unexplained frames that are in force, the newest first. A report is in
            force while it is the newest, or nobody has acknowledged its incident.
        refused: number of files that cannot be used.
    """

    folder: str
    state: TapState
    newest: RowMapping | None
    unexplained: Sequence[RowMapping]
    refused: int

    @property
    def unexplained_frames(self) -> int:
        return sum(row["unexplained_frames"] for row in self.unexplained)

    @property
    def unexplained_bytes(self) -> int:
        return sum(row["unexplained_bytes"] for row in self.unexplained)


def taps_now(connection: Connection, folders: Sequence[str], stale_after: float, now: float) -> list[Tap]:
    """The taps with these folders.

    Args:
        stale_after: seconds after the end of the newest report from which on a tap is stale.
        now: the time, seconds since 1970.
    """
    return [_tap(connection, folder, now - stale_after, now) for folder in folders]


def tap_conditions(connection: Connection, folders: Sequence[str], stale_after: float, now: float) -> list[Condition]:
    """The present conditions of the taps."""
    since = connection.execute(select(SERIES.c.since)).scalar_one()
    found: list[Condition] = []
    for tap in taps_now(connection, folders, stale_after, now):
        for row in tap.unexplained[:SHOWN]:
            what = f"{printable(row['url'])}: {row['what']}"
            found.append(Condition("egress_unexplained", row["subject"], "alarm", what))
        if (more := len(tap.unexplained) - SHOWN) > 0:
            subject = f"{tap.folder}, doubled {len(tap.unexplained).bit_length()} times"
            found.append(Condition("egress_unexplained", subject, "alarm", f"{more} more reports of {tap.folder}"))
        if tap.newest is not None and tap.newest["verdict"] == "watch":
            what = f"{printable(tap.newest['url'])}: {tap.newest['what']}"
            found.append(Condition("egress_watch", tap.folder, "watch", what))
        quiet = now - (since if tap.newest is None else tap.newest["last_time"])
        if quiet > stale_after:
            said = "there is no report" if tap.newest is None else "the newest report ends"
            ago = f"since {quiet / 3600:.1f} hours" if tap.newest is None else f"{quiet / 3600:.1f} hours ago"
            what = f"{printable(tap.folder)}: {said} {ago}, at most {stale_after / 3600:.3g} are wanted"
            found.append(Condition("egress_stale", tap.folder, "stale", what))
        found += _refused(connection, tap)
    return found


def _refused(connection: Connection, tap: Tap) -> list[Condition]:
    """The conditions of the files that cannot be used."""
    newest = select(EGRESS_REPORT).where(*_of(tap.folder, refused=True)).order_by(EGRESS_REPORT.c.id.desc())
    found = [
        Condition("egress_refused", row["url"], "watch", f"{printable(row['url'])}: {row['fault']}")
        for row in connection.execute(newest.limit(SHOWN)).mappings()
    ]
    if tap.refused > SHOWN:
        subject = f"{tap.folder}, doubled {tap.refused.bit_length()} times"
        found.append(Condition("egress_refused", subject, "watch", f"{tap.refused - SHOWN} more in {tap.folder}"))
    return found


def _tap(connection: Connection, folder: str, fresh_from: float, now: float) -> Tap:
    reports = _of(folder, refused=False)
    newest = (
        connection.execute(
            select(EGRESS_REPORT)
            .where(*reports, EGRESS_REPORT.c.last_time <= now + AHEAD_SECONDS)
            .order_by(EGRESS_REPORT.c.last_time.desc(), EGRESS_REPORT.c.id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    acknowledged = exists().where(
        INCIDENT.c.kind == "egress_unexplained",
        INCIDENT.c.subject == EGRESS_REPORT.c.subject,
        INCIDENT.c.acknowledged.is_not(None),
    )
    in_force = ~acknowledged if newest is None else ~acknowledged | (EGRESS_REPORT.c.id == newest["id"])
    rows = connection.execute(
        select(EGRESS_REPORT)
        .where(*reports, EGRESS_REPORT.c.verdict == "unexplained", in_force)
        .order_by(EGRESS_REPORT.c.id)
    ).mappings()
    unexplained = list({row["subject"]: row for row in rows}.values())[::-1]  # a report that came twice counts once
    refused = connection.execute(select(func.count()).where(*_of(folder, refused=True))).scalar_one()
    state: TapState = "none"
    if unexplained:
        state = "unexplained"
    elif newest is not None:
        state = "stale" if newest["last_time"] < fresh_from else newest["verdict"]
    return Tap(folder=folder, state=state, newest=newest, unexplained=unexplained, refused=refused)


def _of(folder: str, *, refused: bool) -> tuple[ColumnElement[bool], ...]:
    """The reports of a folder, or its files that are refused."""
    fault = EGRESS_REPORT.c.fault
    return EGRESS_REPORT.c.folder == folder, fault.is_not(None) if refused else fault.is_(None)
