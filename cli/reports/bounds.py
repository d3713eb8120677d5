"""The bandwidth bounds of a run: of the audited records, and the limits for all, as text and as JSON."""

from dataclasses import dataclass
from typing import Any

from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.statistics.rounding import upper_bytes, upper_fixed
from weightwarden.verifier.verification.exposure import CONFIDENCE, Bound
from weightwarden.verifier.verification.input_file import ArchiveInput
from weightwarden.verifier.verification.run import Run

CONFIDENCE_TEXT = f"{100 * CONFIDENCE:g}%"
_CODES: dict[CodeName, str] = {
    "counting": "with equal costs for all admissible tokens of a position",
    "pooled": "with larger costs for less likely tokens, pooled over all positions",
}


@dataclass(frozen=True)
class BoundRow:
    """One bandwidth bound, as text.

    Attributes:
        name: its name.
        audited: bits a token of the audited records.
        limit: limit for all records, or that the audit says too little.
        meaning: of what it is the limit, at which confidence, its two parts, and what it assumes.
    """

    name: str
    audited: str
    limit: str
    meaning: str


def bound_rows(context: Run) -> list[BoundRow]:
    """The bounds, the one that counts first."""
    exposure = context.exposure
    bounds: dict[CodeName, Bound] = {"counting": exposure.counting, "pooled": exposure.pooled}
    return [
        BoundRow(
            f"{code} bound",
            f"{bound.audited_bits / exposure.tokens:.4f}",
            _limit(context, bound),
            _meaning(context, bound, code),
        )
        for code, bound in sorted(bounds.items(), key=lambda item: item[0] != exposure.leading_code)
    ]


def bound_contents(context: Run, bound: Bound) -> dict[str, Any]:
    """One bound, as JSON (`weightwarden.cli.reports.contents.CodeBits`)."""
    exposure, limit = context.exposure, bound.limit
    conclusive = says_something(context, bound)
    return {
        "audited": bound.audited_bits / exposure.tokens,
        "rate": limit.rate_bits / limit.tokens,
        "stock_bits": limit.stock_bits,
        "limit": limit.bits_per_token,
        "limit_bits": limit.bits,
        "conclusive": conclusive,
        "needs": None if conclusive else bound.conclusiveness.needs,
    }


def scope(context: Run) -> str:
    """The records of a limit and its confidence, as the beginning of a sentence."""
    audited = context.given.audited
    if audited.complete:
        return f"For all {audited.records} records, which were all audited"
    return (
        f"For all {audited.records} records {_source(context)}, audited or not, with {CONFIDENCE_TEXT} confidence over"
        " the draw of the audited ones"
    )


def _source(context: Run) -> str:
    """The source of the records: the files, or the part of the log from the first record to the last."""
    archives = [one for one in context.given.inputs if isinstance(one, ArchiveInput)]
    if not archives:
        return "of these traffic files"
    first, last = archives[0], archives[-1]
    if sum(one.end - one.start for one in archives) == last.end - first.start:
        return f"({first.start} to {last.end - 1} of the log {first.origin})"
    return f"of these archives (from record {first.start} to {last.end - 1} of the log {first.origin})"


def _limit(context: Run, bound: Bound) -> str:
    if not says_something(context, bound):
        return f"too little to say: {bound.conclusiveness.needs}"
    limit = bound.limit
    size = upper_bytes(limit.bits)
    return f"at most {upper_fixed(limit.bits_per_token, 4)} ({size} in {limit.tokens:,} tokens)"


def _meaning(context: Run, bound: Bound, code: CodeName) -> str:
    counts = "" if code == context.exposure.leading_code else " This is not the bound that counts under this policy."
    if not says_something(context, bound):
        return f"Too little was audited for a limit that says something about the other records.{counts}"
    limit = bound.limit
    said = f"{scope(context)}, the choice of tokens and ends carried at most this, {_CODES[code]}"
    if context.exposure.complete:
        return f"{said}.{counts}"
    if limit.bits < limit.rate_bits + limit.stock_bits:
        return f"{said}: the bits of the audited ones, and all that the others can hold.{counts}"
    return (
        f"{said}: {upper_fixed(limit.rate_bits / limit.tokens, 4)} bits a token, which grow with the traffic, and"
        f" {upper_bytes(limit.stock_bits)} once, which a few unaudited records can hold. It assumes that nobody who"
        f" could change a record knew whether it would be audited.{counts}"
    )


def says_something(context: Run, bound: Bound) -> bool:
    """True if a bound limits what all records could carry."""
    return context.exposure.complete or bound.conclusiveness.conclusive
