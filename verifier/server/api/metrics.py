"""Prometheus metrics of the series, from its database, and of this process. Labels have few, fixed values."""

import math
from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy import func, select

from weightwarden.logger.serving.build_versions import build_versions
from weightwarden.verifier.server.alerting.incidents import STATES
from weightwarden.verifier.server.alerting.taps import TAP_STATES
from weightwarden.verifier.server.api.models import ArchiveState, EgressStatus, Status
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.database.schema import ARCHIVE, DELIVERY, QUARANTINE
from weightwarden.verifier.server.database.verdict_database import mapping
from weightwarden.verifier.server.errors import VerdictsUnusable
from weightwarden.verifier.server.startup import ServerParts

ARCHIVE_STATES = get_args(ArchiveState)
_BUILD_INFO = "weightwarden_verifier_build_info"
PROCESS_METRICS = (_BUILD_INFO,)
"""Metrics that are of the process, whatever the number of its models."""


class Metrics:
    """All metrics, in a separate registry, read from the database at each scrape."""

    def __init__(self, server: ServerParts) -> None:
        self._server = server
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The present metrics; if the database fails, those of the process alone."""
        yield _build_info()
        auditor = self._server.auditor
        yield _counter(
            "weightwarden_verifier_replayed_tokens", "Output tokens that this process replayed.", auditor.audited_tokens
        )
        yield _counter(
            "weightwarden_verifier_replay_seconds", "Seconds that this process replayed.", auditor.replay_seconds
        )
        try:
            with self._server.database.reading() as connection:
                status = status_of(self._server, connection)
                states: dict[str, int] = mapping(
                    connection, select(ARCHIVE.c.state, func.count()).group_by(ARCHIVE.c.state)
                )
                held: dict[str, int] = mapping(
                    connection,
                    select(QUARANTINE.c.kind, func.count())
                    .where(QUARANTINE.c.resolved.is_(None))
                    .group_by(QUARANTINE.c.kind),
                )
                waiting = connection.execute(select(func.count()).where(DELIVERY.c.done.is_(None))).scalar_one()
        except VerdictsUnusable:
            yield _gauge("weightwarden_verifier_database_up", "Whether the verdict database can be read.", 0)
            return
        yield _gauge("weightwarden_verifier_database_up", "Whether the verdict database can be read.", 1)
        yield from _of_status(status)
        yield from _of_egress(status.egress)
        yield _labelled(
            "weightwarden_verifier_archives",
            "Archives by state.",
            "state",
            {s: states.get(s, 0) for s in ARCHIVE_STATES},
        )
        yield _labelled("weightwarden_verifier_quarantined", "Open entries of the quarantine by kind.", "kind", held)
        yield _gauge("weightwarden_verifier_notices_waiting", "Notices that nobody took yet.", waiting)


def _of_status(status: Status) -> Iterator[Metric]:
    audit, monitor, bounds = status.audit, status.monitor, status.bounds
    yield _labelled(
        "weightwarden_verifier_state",
        "1 for the state of the series.",
        "state",
        {s: int(s == status.state) for s in STATES},
    )
    yield _gauge(
        "weightwarden_verifier_unacknowledged_incidents",
        "Incidents in force that nobody acknowledged.",
        sum(incident.acknowledged_at is None for incident in status.reasons),
    )
    yield _counter("weightwarden_verifier_log_records", "Records of checked archives.", status.traffic.records)
    yield _counter("weightwarden_verifier_log_tokens", "Output tokens of checked archives.", status.traffic.tokens)
    yield _counter("weightwarden_verifier_audited_records", "Records with a verdict.", audit.audited_records)
    yield _counter("weightwarden_verifier_audited_tokens", "Output tokens with a verdict.", audit.audited_tokens)
    yield _counter("weightwarden_verifier_flagged_records", "Records that are flagged.", audit.flagged)
    yield _counter(
        "weightwarden_verifier_outside_grammar_tokens",
        "Tokens outside the grammars of their requests.",
        audit.outside_grammar,
    )
    yield _counter(
        "weightwarden_verifier_unverifiable_records", "Records that could not be replayed.", audit.unverifiable
    )
    yield _gauge("weightwarden_verifier_backlog_records", "Selected records that wait.", audit.backlog_records)
    yield _gauge(
        "weightwarden_verifier_backlog_tokens", "Output tokens of selected records that wait.", audit.backlog_tokens
    )
    yield _gauge(
        "weightwarden_verifier_lag_seconds", "Age of the oldest archive that is not done.", audit.lag_seconds or 0.0
    )
    yield _gauge(
        "weightwarden_verifier_behind", "Whether the audit is further behind than it may be.", int(audit.behind)
    )
    yield _gauge(
        "weightwarden_verifier_audit_rate",
        "Share of the newest archive's records that is audited; by tokens, of those of 1,016 output tokens.",
        audit.rate,
    )
    yield _gauge(
        "weightwarden_verifier_audit_by_tokens",
        "Whether the newest archive is audited by tokens: long answers more often.",
        int(audit.by == "tokens"),
    )
    yield _gauge(
        "weightwarden_verifier_selected_share",
        "Share of the output tokens of checked archives that is selected.",
        audit.selected_share,
    )
    yield _gauge("weightwarden_verifier_servers", "Servers that are alive.", sum(one.alive for one in audit.servers))
    yield _gauge(
        "weightwarden_verifier_monitor_p_value", "At most this share of honest series looks so bad.", monitor.p_value
    )
    yield _gauge(
        "weightwarden_verifier_monitor_log10_e_value", "Evidence against an honest server.", monitor.log10_capital
    )
    yield _gauge(
        "weightwarden_verifier_monitor_alarm_log10", "Evidence that is an alarm.", -math.log10(monitor.alarm_level)
    )
    series = bounds.series
    yield _gauge(
        "weightwarden_verifier_bits_per_token",
        "Upper limit of what a token of the series has carried unseen, audited or not.",
        None if series is None else series.bits_per_token,
    )
    yield _gauge(
        "weightwarden_verifier_series_rate_bits_per_token",
        "Part of that limit that grows with the traffic.",
        None if series is None else series.rate,
    )
    yield _gauge(
        "weightwarden_verifier_series_stock_bits",
        "Part of that limit that counts once, in bits.",
        None if series is None else series.stock_bits,
    )
    yield _gauge(
        "weightwarden_verifier_series_bits",
        "Upper limit of what all answers of the series have carried unseen, in bits.",
        None if series is None else series.bits,
    )
    yield _counter(
        "weightwarden_verifier_series_tokens",
        "Output tokens to which that limit applies, audited or not.",
        0 if series is None else series.tokens,
    )
    yield _counter(
        "weightwarden_verifier_timing_bits",
        "Bits that the timing of the answers of checked archives has carried, audited or not.",
        bounds.timing.bits,
    )
    yield _counter(
        "weightwarden_verifier_timing_open_records",
        "Records of checked archives that do not hold when their answers were released.",
        bounds.timing.open_records,
    )
    yield _gauge("weightwarden_verifier_bits_per_day", "Upper limit of what leaves unseen.", bounds.bits_per_day)
    conclusive = status.conclusiveness.conclusive
    never = conclusive and bounds.bits_per_day is not None and bounds.days_to_exfiltrate is None
    days = math.inf if never else bounds.days_to_exfiltrate
    yield _gauge(
        "weightwarden_verifier_days_to_exfiltrate",
        "Until the weights are out, at least, at that pace; nan while the audit is not conclusive.",
        days,
    )
    yield _gauge("weightwarden_verifier_conclusive", "Whether the audit is conclusive.", int(conclusive))
    needed = status.conclusiveness.tokens_needed
    yield _gauge(
        "weightwarden_verifier_tokens_needed",
        "Audited tokens that are missing until the audit is conclusive; +Inf if no number suffices.",
        math.inf if needed is None else needed,
    )
    yield _gauge(
        "weightwarden_verifier_open_channels", "Channels that no limit is known of.", len(bounds.open_channels)
    )
    yield _gauge(
        "weightwarden_verifier_watched_timestamp_seconds", "When incidents were brought up to date.", status.watched_at
    )
    yield _gauge(
        "weightwarden_verifier_last_archive_timestamp_seconds",
        "When the newest archive came.",
        status.traffic.last_archive_at,
    )


def _of_egress(egress: EgressStatus) -> Iterator[Metric]:
    states = [tap.state for tap in egress.taps]
    yield _labelled(
        "weightwarden_verifier_egress_taps", "Taps by state.", "state", {s: states.count(s) for s in TAP_STATES}
    )
    yield _gauge(
        "weightwarden_verifier_egress_unexplained_frames",
        "Frames on the links that nothing explains, in the newest reports and in those not acknowledged.",
        sum(tap.unexplained_frames for tap in egress.taps),
    )
    yield _gauge(
        "weightwarden_verifier_egress_unexplained_bytes",
        "Bytes of these frames.",
        sum(tap.unexplained_bytes for tap in egress.taps),
    )
    ends = [tap.ends_at for tap in egress.taps]
    known = [end for end in ends if end is not None]
    yield _gauge(
        "weightwarden_verifier_egress_report_timestamp_seconds",
        "Until when the reports of all taps go; nan while a tap has none.",
        min(known) if known and len(known) == len(ends) else None,
    )
    yield _gauge(
        "weightwarden_verifier_egress_refused_files",
        "Files in the folders of reports that cannot be used.",
        sum(tap.refused for tap in egress.taps),
    )


def _build_info() -> Metric:
    names = build_versions()
    family = GaugeMetricFamily(_BUILD_INFO, "1, with the versions of this process.", labels=list(names))
    family.add_metric(list(names.values()), 1)
    return family


def resident_metric(held: dict[str, bool]) -> Metric:
    """The metric of the models that the process holds in memory."""
    return _labelled(
        "weightwarden_verifier_model_resident",
        "Whether this process holds the model in memory.",
        "model",
        {model: int(is_held) for model, is_held in held.items()},
    )


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """A gauge; nan where the value is unknown."""
    return GaugeMetricFamily(name, text, value=float("nan") if value is None else value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
