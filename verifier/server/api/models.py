"""Response models of the HTTP API, version 1. Times: seconds since 1970 UTC; sizes: bytes, tokens; margins: logits."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from weightwarden.verifier.statistics.sampling_design import AuditBy

Level = Literal["watch", "stale", "alarm"]
State = Literal["clear", "inconclusive", "watch", "stale", "alarm"]
Concern = Literal["evidence", "log", "operation"]
TapState = Literal["none", "clear", "watch", "stale", "unexplained"]
ArchiveState = Literal["found", "quarantined", "auditing", "audited", "gone"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Model):
    """The reason of a refused request."""

    detail: str


class IncidentLinks(_Model):
    """Paths below the dashboard's URL: what the incident is about, the runbook, and its acknowledgement."""

    shown: str
    runbook: str
    acknowledge: str


class Incident(_Model):
    """A condition that an operator must know of.

    Attributes:
        kind: a heading of the runbook, such as monitor, seal, gap or stale.
        title: the kind in a few words.
        concern: what it is about: evidence against the server, integrity of the log, or operation of the service.
        explanation: what happened, and what it does not mean.
        level: severity.
        lasting: whether its cause still holds.
    """

    id: int
    kind: str
    title: str
    concern: Concern
    explanation: str
    level: Level
    what: str
    links: IncidentLinks
    opened_at: float
    lasting: bool
    ended_at: float | None
    acknowledged_at: float | None
    acknowledged_by: str | None
    reason: str | None


class Acknowledgement(BaseModel):
    """An operator's acknowledgement of an incident: name and assessment, both stored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    by: Annotated[str, Field(min_length=1, max_length=100)]
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class ServerStatus(_Model):
    """One verification server on this database."""

    name: str
    seen_at: float
    alive: bool
    tokens_per_second: float | None


class TrafficStatus(_Model):
    """Contents of the log, as far as it was followed."""

    archives: int
    records: int
    tokens: int
    tokens_per_day: float | None
    last_archive_at: float | None


class AuditStatus(_Model):
    """Audited and waiting records.

    Attributes:
        rate: share of the records that is selected; the newest archive's if a compute budget determines it. By tokens,
            the share of the answers of 1,016 output tokens.
        by: what the rate is a share of: records, or tokens.
        selected_share: selected share of all tokens of checked archives.
        audited_share: audited share of all tokens of checked archives.
        lag_seconds: age of the oldest unfinished archive; None when nothing waits.
        max_lag_seconds: largest acceptable lag.
        outside_grammar: tokens outside the grammars of their requests.
        servers: servers that are alive, and the newest of the others.
    """

    compute_share: float | None
    rate: float | None
    by: AuditBy
    selected_share: float | None
    audited_records: int
    audited_tokens: int
    audited_share: float | None
    flagged: int
    outside_grammar: int
    unverifiable: int
    backlog_records: int
    backlog_tokens: int
    lag_seconds: float | None
    max_lag_seconds: float
    behind: bool
    tokens_per_second: float | None
    servers: list[ServerStatus]


class MonitorStatus(_Model):
    """The evidence against an honest server since the last acknowledged alarm.

    Attributes:
        p_value: share of honest series, at most, that ever look so bad.
        log10_capital: log10 of the capital now; the alarm is at -log10 of the alarm level.
    """

    p_value: float
    alarm_level: float
    log10_capital: float


class ConclusivenessStatus(_Model):
    """Conclusiveness of the audit: its bound is far below what free tokens carry, or what it needs for that.

    Attributes:
        conclusive: without it the state is never clear.
        limit: upper limit of the series, bits per token; None before the first archive is audited.
        wanted: largest conclusive limit, bits per token: a tenth of log2 of the vocabulary.
        tokens_needed: further audited tokens that this takes, about; None if no number suffices.
        needs: what the audit needs, in words; None if it is conclusive.
    """

    conclusive: bool
    limit: float | None
    wanted: float
    tokens_needed: int | None
    needs: str | None


class SeriesStatus(_Model):
    """Upper limit of what all answers of the series have carried unseen, audited or not. It holds at every moment.

    Attributes:
        since: time at which the limit began.
        records: answers of the archives whose audit is complete.
        tokens: their output tokens.
        audited_records: how many of them were audited.
        audited_tokens: their output tokens.
        bits: the limit, bits.
        bits_per_token: the limit, bits per token.
        rate: its part that grows with the traffic, bits per token.
        stock_bits: its part that counts once, bits.
        statement: the limit in a sentence.
    """

    since: float
    records: int
    tokens: int
    audited_records: int
    audited_tokens: int
    bits: float
    bits_per_token: float
    rate: float
    stock_bits: float
    statement: str


class TimingStatus(_Model):
    """Bits that the timing of the checked archives' answers has carried, all of them, audited or not.

    Attributes:
        records: answers whose records hold when they were released.
        tokens: their output tokens.
        bits: what the code of releases charges them, bits.
        bits_per_token: the charge, bits per token; None without tokens.
        open_records: other answers, whose timing is open.
        statement: the charge in a sentence.
    """

    records: int
    tokens: int
    bits: float
    bits_per_token: float | None
    open_records: int
    statement: str


class BoundStatus(_Model):
    """Bound of all counted channels together; None while too little is known.

    Attributes:
        confidence: confidence of the limits.
        series: limit of the tokens and ends of all answers so far.
        timing: timing of all answers so far.
        days_to_exfiltrate: days until the weights are out, at least; None is never, or not conclusive.
        open_channels: names of channels without a known limit, which are not in the sum.
    """

    confidence: float
    series: SeriesStatus | None
    timing: TimingStatus
    bits_per_day: float | None
    days_to_exfiltrate: float | None
    weights_bytes: float
    open_channels: list[str]


class TapStatus(_Model):
    """A tap on the link of an inference server, as its reports tell.

    Attributes:
        folder: folder of its reports.
        state: none: no report yet; unexplained: a report has unexplained frames, and is the newest or not acknowledged;
            stale: the newest report ends too long ago; else the verdict of the newest report.
        origin: the log that explains the newest report's frames.
        begins_at: time of the newest report's first frame.
        ends_at: time of its last frame.
        read_at: time at which it was read.
        frames: its frames.
        what: what it found, in a line; empty if it is clear.
        unexplained_frames: frames that nothing explains, of the newest report and of those not acknowledged.
        unexplained_bytes: their bytes.
        refused: files in the folder that cannot be used.
    """

    folder: str
    state: TapState
    origin: str | None
    begins_at: float | None
    ends_at: float | None
    read_at: float | None
    frames: int | None
    what: str | None
    unexplained_frames: int
    unexplained_bytes: int
    refused: int


class EgressStatus(_Model):
    """The followed taps.

    Attributes:
        stale_after_seconds: seconds after the end of its newest report from which on a tap is stale.
        taps: the taps; empty if none is followed.
    """

    stale_after_seconds: float
    taps: list[TapStatus]


class Status(_Model):
    """The state at a glance.

    Attributes:
        model: name of the model among those of the server; None for the only one.
        concern: what the gravest incidents in force are about; None without any.
        meaning: the state in a sentence.
        reasons: incidents in force, the gravest first, at most 100.
        incidents: number of incidents in force.
        watched_at: time of the last update of incidents.
        may_acknowledge: whether the key of this request may acknowledge.
    """

    model: str | None
    state: State
    concern: Concern | None
    meaning: str
    conclusiveness: ConclusivenessStatus
    reasons: list[Incident]
    incidents: int
    watched_at: float | None
    may_acknowledge: bool
    now: float
    since: float
    model_digest: str
    policy_digest: str
    scheme: str
    exact: bool
    shows_text: bool
    traffic: TrafficStatus
    audit: AuditStatus
    quarantined: int
    egress: EgressStatus
    monitor: MonitorStatus
    bounds: BoundStatus


class ModelStatus(_Model):
    """One model of a server of several.

    Attributes:
        resident: whether this process holds the model in memory now.
        status: the state of the model's series; None while its database cannot be used.
    """

    model: str
    resident: bool
    status: Status | None


class FleetStatus(_Model):
    """The models of a server of several.

    Attributes:
        state: the gravest state of a model; None while one is unknown.
        resident_limit: number of models that the process holds in memory at most.
        models: the models, in the order in which they were given.
    """

    state: State | None
    resident_limit: int
    models: list[ModelStatus]


class Quarantine(_Model):
    """An archive that is kept out of the audit, or a missing range, with the reason.

    Attributes:
        kind: of an archive: unreadable, seal, format, fork, root, duplicate, record, model, scheme,
            cosignature; of a range: gap.
        start: first record of the range, if known.
        end: end of the range, if known.
    """

    id: int
    kind: str
    where: str
    what: str
    archive: int | None
    start: int | None
    end: int | None
    since: float
    resolved_at: float | None


class Archive(_Model):
    """One archive: records start to end - 1 of a log.

    Attributes:
        state: found (not checked yet), quarantined, auditing, audited; gone: its file was removed before its audit.
        root: root of the log at the archive's end, hex.
        audit_by: what the audit rate is a share of: records, or tokens.
        selected: records chosen for the audit.
        selected_tokens: their output tokens.
        paced_records: records that hold when their answers were released; None if an earlier version checked them.
        timing_bits: bits that the timing of these answers has carried.
        remaining: selected records still to be replayed.
    """

    id: int
    url: str
    state: ArchiveState
    found_at: float
    checked_at: float | None
    audited_at: float | None
    origin: str | None
    start: int | None
    end: int | None
    root: str | None
    records: int | None
    tokens: int | None
    audit_rate: float | None
    audit_by: AuditBy | None
    selected: int | None
    selected_tokens: int | None
    paced_records: int | None
    timing_bits: float | None
    remaining: int | None
    quarantine: Quarantine | None


class Verdict(_Model):
    """The verdict of one audited record.

    Attributes:
        position: place of the record in the order of the audit.
        archive: the record's archive.
        index: index of the record in the log.
        flagged: whether the record is implausible for an honest server, or could not be replayed; reasons gives the
            cause.
        unverifiable: whether the record has no verdict; not flagged if its request leaves no definite token.
        p_value: share of honest records, at most, that look so.
        counting_bits: bits that its tokens could have carried unseen, under the counting code.
        pooled_bits: bits that its tokens could have carried unseen, under the pooled code.
        end_bits: bits charged for its end.
        outside_grammar: tokens outside the request's grammar; each is dangerous, and flags the record.
        largest_margin: largest margin in logits; None if a token is outside the support.
        evidence: whether its tokens are stored.
    """

    position: int
    archive: int
    index: int
    at: float
    tokens: int
    mismatches: int
    suspicious: int
    dangerous: int
    outside_grammar: int
    flagged: bool
    unverifiable: bool
    p_value: float
    reasons: list[str]
    counting_bits: float
    pooled_bits: float
    end_bits: float
    early_stop: bool
    largest_margin: float | None
    evidence: bool


class Alternative(_Model):
    """An admissible token in place of the claimed one; id and text only if the operator shows text."""

    margin: float
    id: int | None
    text: str | None


class Token(_Model):
    """One token of a record; id and text only if the operator shows text.

    Attributes:
        margin: logits below the replay's choice; None outside the support.
        forced: whether the sidecar put the token in to end reasoning; its ranks are 0.
        outside_grammar: whether the request's grammar excludes the token; False in evidence of earlier versions.
        alternatives: the admissible tokens of the position, if the token is not one of them.
    """

    verdict: Literal["safe", "suspicious", "dangerous"]
    margin: float | None
    logit_rank: int
    gumbel_rank: int
    admissible: int
    outside_grammar: bool = False
    forced: bool = False
    charged_bits: float
    alternatives: list[Alternative]
    id: int | None
    text: str | None


class RecordView(_Model):
    """A record with its tokens, if its evidence is stored: it has a token that is not safe, or is flagged."""

    verdict: Verdict
    url: str
    origin: str
    prompt_tokens: int | None
    finish_reason: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    tokens: list[Token]


class RatePoint(_Model):
    """A rate at one moment.

    Attributes:
        records: records audited so far.
        tokens: tokens audited so far.
        value: value per token of all records so far.
        low: lower limit of the confidence sequence.
        high: upper limit of the confidence sequence.
        recent: value per token since the previous point of this series; None without tokens.
    """

    at: float
    records: int
    tokens: int
    value: float
    low: float
    high: float
    recent: float | None


class RateSeries(_Model):
    """One watched rate over time, per token or (share of records) per record.

    Attributes:
        honest_at_most: upper limit of an honest server under the policy.
    """

    name: str
    unit: Literal["share of tokens", "share of records", "bits a token", "a token"]
    honest_at_most: float
    points: list[RatePoint]


class CapitalPoint(_Model):
    """The monitor's capital at one moment, as a power of ten."""

    at: float
    log10: float


class LimitPoint(_Model):
    """The limit of the series at one moment.

    Attributes:
        limit: upper limit of the bits per token of all answers so far, audited or not.
        rate: its part that grows with the traffic.
        records: answers so far.
        tokens: their output tokens.
    """

    at: float
    limit: float
    rate: float
    records: int
    tokens: int


class Rates(_Model):
    """All watched rates, and the limit of the series. Limits hold at all times at once, each with this confidence.

    Attributes:
        limit: the limit of the series over time, under the leading code.
        conclusive_limit: largest conclusive limit, bits per token.
    """

    confidence: float
    series: list[RateSeries]
    capital: list[CapitalPoint]
    alarm_log10: float
    limit: list[LimitPoint]
    conclusive_limit: float


class Bound(_Model):
    """A bound of the bits that tokens and ends of all answers of the series have carried unseen, audited or not.

    Attributes:
        name: the code's bound.
        audited: bits per token of the audited answers.
        rate: bits per token of all answers, at most: the part that grows with the traffic.
        stock_bits: bits that count once, however long the series is.
        limit: bits per token of all answers so far, at most, both parts included.
        limit_bits: bits of all answers so far, at most.
        trivial: whether that is no less than all that the unaudited answers can hold.
    """

    name: str
    audited: float
    rate: float
    stock_bits: float
    limit: float
    limit_bits: float
    trivial: bool


class Channel(_Model):
    """One channel's part.

    Attributes:
        counted: whether it is in the sum.
        note: explanation of its limit.
    """

    name: str
    bits_per_day: float
    counted: bool
    note: str


class Bounds(_Model):
    """The bandwidth ledger; None or empty before the first audit.

    Attributes:
        conclusiveness: whether the limits say anything yet.
        statement: the limit of the series in a sentence.
        timing: timing of all answers so far.
        bounds: the limit of the series under each code; the leading one first.
        gambled_bits: bits that wholly altered answers gain once before they are caught.
        days_to_exfiltrate: days until the weights are out, at least; None is never, or not conclusive.
    """

    confidence: float
    conclusiveness: ConclusivenessStatus
    statement: str | None
    timing: TimingStatus
    bounds: list[Bound]
    entropy_bits_per_token: float | None
    channels: list[Channel]
    bits_per_day: float | None
    gambled_bits: float | None
    weights_bytes: float
    days_to_exfiltrate: float | None
    assumptions: list[str]


class MarginBin(_Model):
    """Tokens with a margin in (low, high], logits; the first bin is 0, the last is open or outside the support.

    Attributes:
        expected_at_most: largest mean number under the calibration, given the candidates; None where it has none.
    """

    low: float
    high: float | None
    observed: int
    expected_at_most: float | None


class Margins(_Model):
    """The margin distribution of all audited tokens."""

    threshold: float
    tokens: int
    bins: list[MarginBin]


class Archives(_Model):
    """A page of archives, the newest first.

    Attributes:
        next: `before` of the next page.
    """

    archives: list[Archive]
    next: int | None


class Quarantines(_Model):
    """Present and past entries of the quarantine: the newest 1000 of each."""

    quarantined: list[Quarantine]


class Verdicts(_Model):
    """A page of verdicts, the newest first.

    Attributes:
        next: `before` of the next page.
    """

    verdicts: list[Verdict]
    next: int | None


class Incidents(_Model):
    """All incidents, the newest first."""

    incidents: list[Incident]
