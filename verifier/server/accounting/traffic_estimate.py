"""Volume and growth of the log's traffic, from the archives followed."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from weightwarden.verifier.server.accounting.timing import timing_seen
from weightwarden.verifier.server.database.schema import ARCHIVE
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.series_timing import SeriesTiming

WINDOW_SECONDS = 7 * 86_400.0
MIN_SECONDS = 3600.0
"""Longest and shortest time over which the tokens per day are measured."""
BACKLOG_SECONDS = 60.0
"""Archives found so soon after the first one existed before, and are not used to measure the tokens per day."""


@dataclass(frozen=True, kw_only=True)
class TrafficSeen:
    """Checked archives, their records and output tokens.

    Attributes:
        tokens_per_day: output tokens a day over the last days; None if archives were followed for less than an hour.
        last_archive: time of the check of the newest archive.
        design: sampling design of the newest archive.
        least_designs: by records and by tokens, the sampling design with the least rate of the last days.
        selected_tokens: output tokens of the selected records.
        timing: timing of all answers.
        recent_timing: timing of the answers of the last days.
    """

    archives: int
    records: int
    tokens: int
    tokens_per_day: float | None
    last_archive: float | None
    design: SamplingDesign | None
    least_designs: tuple[SamplingDesign, ...]
    selected_tokens: int
    timing: SeriesTiming
    recent_timing: SeriesTiming


def traffic_seen(connection: Connection, now: float) -> TrafficSeen:
    """The traffic followed until now."""
    checked = ARCHIVE.c.checked.is_not(None)
    columns = (ARCHIVE.c.records, ARCHIVE.c.tokens, ARCHIVE.c.selected_tokens)
    sums = (func.coalesce(func.sum(column), 0) for column in columns)
    archives, records, tokens, selected_tokens = connection.execute(select(func.count(), *sums).where(checked)).one()
    first = connection.execute(select(func.min(ARCHIVE.c.found)).where(checked)).scalar()
    newest = connection.execute(
        select(ARCHIVE.c.checked, ARCHIVE.c.audit_rate, ARCHIVE.c.audit_by)
        .where(checked)
        .order_by(ARCHIVE.c.checked.desc())
        .limit(1)
    ).one_or_none()
    per_day = None
    if first is not None and now - first >= MIN_SECONDS:
        since = max(first + BACKLOG_SECONDS, now - WINDOW_SECONDS)
        tokens_since = select(func.coalesce(func.sum(ARCHIVE.c.tokens), 0)).where(checked, ARCHIVE.c.found > since)
        per_day = float(connection.execute(tokens_since).scalar_one()) * 86_400 / (now - since)
    recent = (
        select(func.min(ARCHIVE.c.audit_rate), ARCHIVE.c.audit_by)
        .where(ARCHIVE.c.checked > now - WINDOW_SECONDS)
        .group_by(ARCHIVE.c.audit_by)
        .order_by(ARCHIVE.c.audit_by)
    )
    return TrafficSeen(
        archives=archives,
        records=int(records),
        tokens=int(tokens),
        tokens_per_day=per_day,
        last_archive=None if newest is None else newest.checked,
        design=None if newest is None else SamplingDesign(newest.audit_rate, newest.audit_by),
        least_designs=tuple(SamplingDesign(rate, by) for rate, by in connection.execute(recent)),
        selected_tokens=int(selected_tokens),
        timing=timing_seen(connection),
        recent_timing=timing_seen(connection, ARCHIVE.c.checked > now - WINDOW_SECONDS),
    )
