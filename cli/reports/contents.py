"""Contents of the JSON report of `verify run`, with its schema. The models are strict, and refuse unknown fields."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.logger.release import SLOTS
from weightwarden.sampler.params import refusal
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.likelihood_ratio import LARGEST
from weightwarden.verifier.scoring.release_code import PLACES, groups_by_place
from weightwarden.verifier.scoring.release_ledger import ReleaseTable, TimingState
from weightwarden.verifier.statistics.sampling_design import AuditBy
from weightwarden.verifier.verification.length_table import LengthTable

REPORT_FORMAT: Literal["weightwarden-report/3"] = "weightwarden-report/3"

Count = Annotated[int, Field(ge=0, le=2**53)]
Bits = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Part(BaseModel):
    """A part of a report."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class RecordColumns(_Part):
    """Counts, bits and verdicts of each record, by column.

    `counting_bits` and `pooled_bits` are those of its tokens. Under either code the record is charged `end_bits` more:
    for its end, and for the information that its tokens are coded. It was drawn with `probability`.
    `log_ratio` holds the ln of each record's e-values in the conditional test, nats, one for each bet of the policy.
    """

    tokens: list[Count]
    probability: list[Annotated[float, Field(gt=0, le=1)]]
    mismatches: list[Count]
    suspicious: list[Count]
    dangerous: list[Count]
    counting_bits: list[Bits]
    pooled_bits: list[Bits]
    end_bits: list[Bits]
    outlying: list[Annotated[int, Field(ge=0, le=1)]]
    flagged: list[Annotated[int, Field(ge=0, le=1)]]
    log_ratio: list[Annotated[list[Annotated[float, Field(ge=-LARGEST, le=LARGEST)]], Field(min_length=1)]]

    @model_validator(mode="after")
    def _one_entry_a_record(self) -> Self:
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) != 1:
            raise refusal("columns", "records", f"columns of different lengths: {sorted(lengths)}")
        for name in ("mismatches", "suspicious", "dangerous", "outlying"):
            if any(events > tokens for events, tokens in zip(getattr(self, name), self.tokens, strict=True)):
                raise refusal("columns", name, "more than there are tokens")
        if len({len(ratios) for ratios in self.log_ratio}) > 1:
            raise refusal("columns", "log_ratio", "records with different numbers of bets")
        return self

    def column(self, name: str) -> FloatArray:
        """One column, float64 [records]; "log_ratio" is [records, bets]."""
        return np.array(getattr(self, name), np.float64)

    def bits(self, code: CodeName) -> FloatArray:
        """Bits that each record is charged under a code, its end included, float64 [records]."""
        return self.column(f"{code}_bits") + self.column("end_bits")


class UnauditedRecords(_Part):
    """Number of the records that were not drawn, by their output tokens, which ascend."""

    tokens: list[Count]
    records: list[Annotated[int, Field(ge=1, le=2**53)]]

    @model_validator(mode="after")
    def _one_entry_a_length(self) -> Self:
        if len(self.tokens) != len(self.records) or any(a >= b for a, b in pairwise(self.tokens)):
            raise refusal("columns", "unaudited", "not one number of records for each length, in ascending order")
        return self

    @property
    def table(self) -> LengthTable:
        """The table."""
        return LengthTable(tokens_u=np.array(self.tokens, np.int64), records_u=np.array(self.records, np.int64))


class CodeBits(_Part):
    """One bound.

    `audited` and `limit` are bits a token: of the audited records, and the limit for all records. `limit_bits` is the
    limit in bits. It has two parts: `rate`, bits a token, which grow with the traffic, and `stock_bits`, which count
    once; their sum is the limit, unless the records cannot hold as much. `conclusive` is false where too few records
    were audited for the limit to say something; `needs` is then a sentence about what is missing.
    """

    audited: Bits
    rate: Bits
    stock_bits: Bits
    limit: Bits
    limit_bits: Bits
    conclusive: bool
    needs: str | None


class BitsPerToken(_Part):
    """The bandwidth bounds of a run, and the honest entropy in bits a token, which is no bound of the server.

    `leading_code` is the code whose bound counts. The policy fixes it.
    """

    counting: CodeBits
    pooled: CodeBits
    leading_code: CodeName
    honest_entropy: Bits | None

    @property
    def leading(self) -> CodeBits:
        """The bound that counts."""
        return self.pooled if self.leading_code == "pooled" else self.counting


class RateLimits(_Part):
    """A share of the tokens: estimated from the audited records, and its limits for all records.

    The estimate weighs each record by 1 / the probability of its draw.
    """

    value: Share
    low: Share
    high: Share


class Rates(_Part):
    """Shares of the tokens by kind."""

    mismatch: RateLimits
    suspicious: RateLimits
    dangerous: RateLimits


class Statistics(_Part):
    """The statistics of a run."""

    confidence: Share
    total_tokens: Annotated[int, Field(ge=1, le=2**53)]
    longest_record_tokens: Count
    log2_vocabulary: Annotated[float, Field(gt=0, le=64)]
    rates: Rates
    bits_per_token: BitsPerToken
    records: RecordColumns
    unaudited: UnauditedRecords
    assumptions: list[str]


class ReleaseCounts(_Part):
    """Counts of the releases of records, from which their timing is charged.

    `start_slots` has the number of records by start slot, and last of those without one; `unknown_records` of these
    have tokens, and `unknown_groups` groups. The end of `two_way_ends` records may have left in two ways. The other
    columns have one entry for each kind of record with groups after the first: their number, those with underruns
    before them by place (groups 1 to 3, 4 to 15, 16 to 63, and later, the first group being 0), the underruns, and the
    number of such records.
    """

    start_slots: Annotated[list[Count], Field(min_length=SLOTS + 1, max_length=SLOTS + 1)]
    unknown_records: Count
    unknown_groups: Count
    two_way_ends: Count
    groups: list[Annotated[int, Field(ge=1, le=2**53)]]
    runs: list[Annotated[list[Count], Field(min_length=PLACES, max_length=PLACES)]]
    underruns: list[Count]
    records: list[Annotated[int, Field(ge=1, le=2**53)]]

    @model_validator(mode="after")
    def _one_entry_a_kind(self) -> Self:
        columns = (self.groups, self.runs, self.underruns)
        if len({len(column) for column in (*columns, self.records)}) > 1:
            raise refusal("columns", "timing.counts", "columns of different lengths")
        if any(one >= other for one, other in pairwise(zip(*columns, strict=True))):
            raise refusal("columns", "timing.counts", "not in ascending order, each kind once")
        runs_up = np.array(self.runs, np.int64).reshape(-1, PLACES)
        runs_u, underruns_u = runs_up.sum(axis=1), np.array(self.underruns, np.int64)
        too_many_u = (runs_up > groups_by_place(np.array(self.groups, np.int64))).any(axis=1)
        for at in np.flatnonzero(too_many_u | (underruns_u < runs_u) | ((underruns_u > 0) != (runs_u > 0))):
            groups, runs, underruns = (column[at] for column in columns)
            said = f"{groups} groups cannot have runs {runs} of {underruns} underruns"
            raise refusal("columns", "timing.counts", said)
        return self


class Timing(_Part):
    """The timing of all records, audited or not.

    `state` is "paced" if every record says when its answer left, and "open" if none does. `records` do, and have
    `tokens` output tokens; `open_records` do not. `bits` is the charge of the former: for their start slots, their
    underruns, their ends, what left unknown, and 2 bits. It has no confidence, since no record was drawn for it.
    """

    state: TimingState
    records: Count
    open_records: Count
    tokens: Count
    ticks: Count
    underruns: Count
    slot_bits: Bits
    underrun_bits: Bits
    end_bits: Bits
    unknown_bits: Bits
    bits: Bits
    bits_per_token: Bits | None
    counts: ReleaseCounts

    @property
    def table(self) -> ReleaseTable:
        """The counts, as a table."""
        counts = self.counts
        return ReleaseTable(
            open_records=self.open_records,
            tokens=self.tokens,
            records_s=np.array(counts.start_slots, np.int64),
            unknown_records=counts.unknown_records,
            unknown_groups=counts.unknown_groups,
            two_way_ends=counts.two_way_ends,
            groups_u=np.array(counts.groups, np.int64),
            runs_up=np.array(counts.runs, np.int64).reshape(-1, PLACES),
            underruns_u=np.array(counts.underruns, np.int64),
            records_u=np.array(counts.records, np.int64),
        )


class TrafficInput(_Part):
    """A traffic file that was verified."""

    path: str
    sha256: Sha256
    records: Count


class ArchiveInput(_Part):
    """An archive of a log that was verified: its range, and the size, root and signing keys of its checkpoint."""

    path: str
    sha256: Sha256
    origin: str
    start: Count
    end: Count
    size: Count
    root: Sha256
    keys: list[str]


class SelectionRange(_Part):
    """The selected records of one archive, or of the traffic files."""

    archive: str | None = None
    root: Sha256
    start: Count
    end: Count
    selected: list[Count]


class Selection(_Part):
    """The draw of the audited records: in proportion to their tokens or not. `key_digest` identifies the audit key,
    which is secret.
    """

    method: str
    rate: Share
    by: AuditBy
    key_digest: Digest
    ranges: list[SelectionRange]


class PolicyIdentity(_Part):
    """The policy that judged: its file, the digest of its content, and what it was made for."""

    path: str | None
    sha256: Sha256 | None
    digest: Digest
    format: str
    engine: str
    engine_version: str
    scheme: str
    replay: str
    dtype: str
    model_digest: Digest
    profile: Digest | None = None


class NamedEngineProfile(_Part):
    """The engine profile that the records name: its digest, and the contents that have it."""

    digest: Digest
    contents: EngineProfile

    @model_validator(mode="after")
    def _digest_of_the_contents(self) -> Self:
        if self.contents.digest() != self.digest:
            raise refusal("digest", "digest", "not the digest of the contents")
        return self


class Environment(_Part):
    """A processor that replayed (null where a replay server did), and the versions of its software."""

    processor: str | None
    software: dict[str, str]


class PlacedEntry(_Part):
    """A record by its number in the report, and its line in a traffic file or index in a log."""

    record: Count
    file: str
    line: Count | None = None
    index: Count | None = None
    tokens: Count


class Flagged(PlacedEntry):
    """A flagged record."""

    reasons: Annotated[list[str], Field(min_length=1)]
    p_value: Share
    outliers: Count


class Unverifiable(PlacedEntry):
    """A record without a verdict."""

    worker_deaths: Count
    why: str


class ReplaySeconds(_Part):
    """Seconds of the run and of its parts."""

    forward: Seconds
    score: Seconds
    total: Seconds


class _Counts(_Part):
    records: Count
    tokens: Count
    mismatches: Count
    dangerous: Count
    flagged: Count


class Replica(_Counts):
    """The records with a verdict that one server answered, where a sidecar has several."""

    replica: Annotated[str, Field(min_length=1, max_length=256)]


class AdapterRecords(_Counts):
    """The records with a verdict that name one low-rank adapter."""

    adapter: Annotated[str, Field(min_length=1, max_length=256)]
    digest: Digest


class Executor(_Part):
    """The workers of the run."""

    workers: Count
    worker_deaths: Count


class Report(_Part):
    """A report of `verify run`."""

    format: Literal["weightwarden-report/3"]
    weightwarden_version: str
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    auditor: str | None
    verdict: Literal["clear", "incomplete", "inconclusive", "alarm"]
    inputs: Annotated[list[TrafficInput | ArchiveInput], Field(min_length=1)]
    log: str | None = None
    checkpoint: str | None = None
    traffic: list[str] | None = None
    unsafe_unsigned: bool
    selection: Selection | None
    audit_rate: float | None
    audit_digest: Sha256
    total_records: Count
    verified_records: Count
    retokenised_records: Count
    verified_tokens: Count
    safe: Count
    suspicious: Count
    dangerous: Count
    outside_grammar: Count = 0
    forced: Count = 0
    outlying_records: Count
    honest_outlying_records: Annotated[float, Field(ge=0)]
    early_stops: Count
    unanswered: Count
    run_p_value: Share
    charged_bits_per_token: Bits
    charged_fraction: Annotated[float, Field(ge=0)]
    tied_positions: Count
    unresolved_positions: Count
    unresolved_bits_per_token: Bits
    unsteady_positions: Count
    statistics: Statistics
    timing: Timing
    flagged: list[Flagged]
    unverifiable: list[Unverifiable]
    replicas: list[Replica] = []
    adapters: list[AdapterRecords] = []
    model: str
    model_digest: Digest
    policy: PolicyIdentity
    policy_digest: Digest
    engine_profile: NamedEngineProfile | None = None
    replay: str
    dtype: str
    device: str
    environments: list[Environment]
    executor: Executor
    seconds: ReplaySeconds
    tokens_per_second: Annotated[float, Field(ge=0)]

    @property
    def indices(self) -> Sequence[int]:
        """Indices of the audited records: in the log, or their places among all records of the traffic files."""
        if self.selection is not None:
            return [index for part in self.selection.ranges for index in part.selected]
        first = self.inputs[0]
        start = first.start if isinstance(first, ArchiveInput) else 0
        return range(start, start + self.total_records)

    @property
    def without_evidence(self) -> list[int]:
        """Places, among the audited records, of those whose requests leave no definite token: they are no evidence."""
        undefined = {record.record for record in self.unverifiable if not record.worker_deaths}
        return [place for place, index in enumerate(self.indices) if index in undefined] if undefined else []
