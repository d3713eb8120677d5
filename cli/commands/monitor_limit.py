"""The limit of a series in `verify monitor`: from audits, as JSON, and in the state file."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.cli.reports.contents import Report
from weightwarden.sampler.params import refusal
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.series_limit import CODES, SeriesLimit
from weightwarden.verifier.verification.series_statement import LimitParts, series_statement

CONFIDENCE = 0.99
"""Confidence of the limit."""
LENGTH_LIMIT = 16_384
"""Largest number of tokens of an answer for which a series of reports has a price, if its policy names no context."""


@dataclass(frozen=True, kw_only=True)
class AuditedRecords:
    """The records of an audit: audited ones with their bits under each code, ends included, and the others."""

    audited: AuditedPopulation
    bits_r: dict[CodeName, FloatArray]

    @classmethod
    def of_report(cls, report: Report) -> Self:
        """Those of a report."""
        statistics, selection = report.statistics, report.selection
        design = None if selection is None or selection.rate == 0 else SamplingDesign(selection.rate, selection.by)
        return cls(
            audited=AuditedPopulation.of(statistics.records.tokens, [], statistics.unaudited.table, design),
            bits_r={code: statistics.records.bits(code) for code in CODES},
        )

    @classmethod
    def of_charges(cls, audited: AuditedPopulation, charges: RecordCharges) -> Self:
        """Those of a run."""
        bits_r: dict[CodeName, FloatArray] = {
            "counting": charges.counting_bits_r + charges.end_bits_r,
            "pooled": charges.pooled_bits_r + charges.end_bits_r,
        }
        return cls(audited=audited, bits_r=bits_r)

    def new_series(self, log2_vocabulary: float, length_limit: int, shortest: int) -> SeriesLimit:
        """The limit of a series that begins with this audit."""
        return SeriesLimit.new(log2_vocabulary, self.audited.design or SamplingDesign(1.0), length_limit, shortest)


def limit_result(series: SeriesLimit, leading: CodeName) -> dict[str, Any]:
    """The limit of a series, the one of the leading code first, as JSON."""
    parts = {code: LimitParts.of(series, code, CONFIDENCE) for code in sorted(CODES, key=lambda code: code != leading)}
    return {
        "confidence": CONFIDENCE,
        "audits": series.draws,
        "records": series.records,
        "tokens": series.tokens,
        "audited_records": series.audited_records,
        "audited_tokens": series.audited_tokens,
        "leading_code": leading,
        **{code: None if found is None else asdict(found) for code, found in parts.items()},
        "statement": limit_statement(series, leading),
    }


def limit_statement(series: SeriesLimit, leading: CodeName) -> str | None:
    """The limit in a sentence; None before the first token."""
    since = f"In the {series.draws} audits of this series" if series.draws > 1 else "In the one audit of this series"
    return series_statement(series, leading, CONFIDENCE, since)


_Numbers = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=64)]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class StoredTotal(_Part):
    """`TotalLimit` in the state file."""

    price_k: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=64)]
    slope_k: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=2, max_length=64)]
    share_k: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=2, max_length=64)]
    spent_k: _Numbers
    excess_bits_k: _Numbers
    audited_bits: Annotated[float, Field(ge=0)]
    unaudited_most_bits: Annotated[float, Field(ge=0)]
    records: _Count
    audited_records: _Count
    tokens: _Count
    audited_tokens: _Count

    @model_validator(mode="after")
    def _one_entry_a_price(self) -> Self:
        arrays = (self.price_k, self.slope_k, self.share_k, self.spent_k, self.excess_bits_k)
        if len({len(array_k) for array_k in arrays}) != 1:
            raise refusal("limit", "price_k", "needs one entry in each column")
        if sum(self.share_k) > 1 + 1e-9:
            raise refusal("limit", "share_k", "more than the whole error")
        return self


class StoredTotals(_Part):
    """The sums of a series by code."""

    counting: StoredTotal
    pooled: StoredTotal


class StoredLimit(_Part):
    """`SeriesLimit` in the state file."""

    log2_vocabulary: Annotated[float, Field(gt=0)]
    draws: _Count
    totals: StoredTotals

    def series(self) -> SeriesLimit:
        """The limit."""
        return SeriesLimit.from_dict(self.model_dump())
