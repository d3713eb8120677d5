"""Reader of reports of `verify run`, for estimates and monitors. It is strict, and limits the size."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weightwarden.errors import WeightwardenError
from weightwarden.sampler.params import refusal
from weightwarden.sampler.types import FloatArray
from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import printable

MAX_REPORT_BYTES = 512 * 2**20
REPORT_FORMAT: Literal["weightwarden-report/1"] = "weightwarden-report/1"

Count = Annotated[int, Field(ge=0, le=2**53)]
Bits = Annotated[float, Field(ge=0)]


class ReportError(WeightwardenError, ValueError):
    """A report that cannot be used: unreadable, not a report of `verify run`, or of another subject."""


class _Part(BaseModel):
    """A part of a report. Fields that are read are strict, and others are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class RecordColumns(_Part):
    """Counts, bits and verdicts of each record, by column."""

    tokens: list[Count]
    mismatches: list[Count]
    suspicious: list[Count]
    dangerous: list[Count]
    pooled_bits: list[Bits]
    outlying: list[Annotated[int, Field(ge=0, le=1)]]
    flagged: list[Annotated[int, Field(ge=0, le=1)]]

    @model_validator(mode="after")
    def _one_entry_a_record(self) -> Self:
        lengths = {len(getattr(self, name)) for name in type(self).model_fields}
        if len(lengths) != 1:
            raise refusal("columns", "records", f"columns of different lengths: {sorted(lengths)}")
        for name in ("mismatches", "suspicious", "dangerous", "outlying"):
            if any(events > tokens for events, tokens in zip(getattr(self, name), self.tokens, strict=True)):
                raise refusal("columns", name, "more than there are tokens")
        return self

    def column(self, name: str) -> FloatArray:
        """One column, float64 [records]."""
        return np.array(getattr(self, name), np.float64)


class CodeBits(_Part):
    """One bound, bits a token: for the audited records, and its limit for all records."""

    audited: Bits
    limit: Bits


class BitsPerToken(_Part):
    """The bandwidth bounds of a run."""

    counting: CodeBits
    pooled: CodeBits


class Statistics(_Part):
    """The statistics of a run."""

    confidence: float
    total_tokens: Annotated[int, Field(ge=1, le=2**53)]
    log2_vocabulary: Annotated[float, Field(gt=0, le=64)]
    bits_per_token: BitsPerToken
    records: RecordColumns


class Report(_Part):
    """A report of `verify run`."""

    format: Literal["weightwarden-report/1"]
    verdict: Literal["clear", "incomplete", "alarm"]
    total_records: Count
    audit_rate: float | None
    policy_digest: str
    audit_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    unsafe_unsigned: bool
    tokens_per_second: float
    statistics: Statistics


def read_report(path: Path) -> Report:
    """The report in a JSON file.

    Raises:
        ReportError: the file is unreadable, too large, not JSON, or no such report; names the file and the field.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_REPORT_BYTES:
        raise ReportError(f"{path}: larger than {MAX_REPORT_BYTES} bytes, which no report is")
    try:
        return Report.model_validate(json.loads(content))
    except ValidationError as error:
        raise ReportError(f"{path}: no report of `verify run` of this version: {validation_message(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: no JSON: {printable(str(error))[:200]}") from None
