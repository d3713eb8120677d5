"""The statistics of a run, as text for reports and as JSON for other commands."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from weightwarden.verifier.statistics.detection import alarm_probability, altered_before_alarm
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.rounding import lower_fixed, upper, upper_fixed
from weightwarden.verifier.verification.exposure import CONFIDENCE, Bound
from weightwarden.verifier.verification.run import Run


@dataclass(frozen=True)
class BoundRow:
    """One bandwidth bound, as text."""

    name: str
    audited: str
    limit: str


@dataclass(frozen=True)
class RateRow:
    """One rate, as text."""

    name: str
    value: str
    limits: str


@dataclass(frozen=True)
class Figures:
    """The figures of a run's exposure, as text."""

    confidence: str
    bounds: list[BoundRow]
    rates: list[RateRow]
    assumptions: list[str]


def figures(context: Run) -> Figures:
    """The figures of a run, as text."""
    exposure = context.exposure
    bounds = [
        BoundRow(name, f"{bound.audited_bits / exposure.tokens:.4f}", _limit(context, bound))
        for name, bound in (("counting bound", exposure.counting), ("pooled bound", exposure.pooled))
    ]
    if exposure.entropy_bits_per_token is not None:
        bounds.append(
            BoundRow("honest entropy", f"{exposure.entropy_bits_per_token:.4f}", "what no threshold takes from it")
        )
    return Figures(
        confidence=f"{100 * CONFIDENCE:g}%",
        bounds=bounds,
        rates=[
            RateRow(
                name,
                f"{100 * rate.value:.3f}%",
                f"{lower_fixed(100 * rate.low, 3)}% to {upper_fixed(100 * rate.high, 3)}%",
            )
            for name, rate in _rates(context).items()
        ],
        assumptions=assumptions(context),
    )


def assumptions(context: Run) -> list[str]:
    """Assumptions behind the figures, in words."""
    said = ["Bounds count every message that these prompts and seeds allow, along the tokens that were sent."]
    audit_rate = context.given.audit_rate
    if audit_rate is not None:
        said.append(catching(audit_rate, context.given.audited.records))
        said.append("Limits for all records hold over the draw of the audited ones; a few audited records say little.")
    if context.verification.unverifiable:
        said.append(
            f"{len(context.verification.unverifiable)} records have no verdict: they are charged in full, and count as"
            " dangerous in the shares."
        )
    if not context.given.signed:
        said.append("The traffic is unsigned: nothing says that these are all the records, or their true seeds.")
    said.append("Timing, refusals and whatever bypassed the log are not in them (docs/statistics.md).")
    return said


def catching(audit_rate: float, records: int) -> str:
    """The number of altered records of which an audit at that rate sees one, in words."""
    needed = altered_before_alarm(CONFIDENCE, audit_rate=audit_rate)
    unless = "if nobody can foresee which records are audited"
    if needed > records:
        seen = alarm_probability(records, audit_rate=audit_rate)
        return (
            f"At audit rate {audit_rate:g}, {records} altered records, all of them, would have one audited with"
            f" probability {seen:.3f} only, {unless}."
        )
    what = "an altered record is" if needed == 1 else f"one of {needed} altered records is"
    return f"At audit rate {audit_rate:g}, {what} audited with probability {CONFIDENCE:g} or more, {unless}."


def statistics(context: Run) -> dict[str, Any]:
    """The figures of a run, as JSON. Columns have one value a verified record, in order."""
    exposure, watched = context.exposure, context.verification.watched
    return {
        "confidence": CONFIDENCE,
        "total_tokens": exposure.total_tokens,
        "longest_record_tokens": context.given.audited.longest,
        "log2_vocabulary": float(np.log2(context.verification.vocabulary)),
        "rates": {name: _interval(rate) for name, rate in _rates(context).items()},
        "bits_per_token": {
            "counting": _bits(context, exposure.counting),
            "pooled": _bits(context, exposure.pooled),
            "honest_entropy": exposure.entropy_bits_per_token,
        },
        "records": {
            name: np.round(column_r, 6).tolist() if name == "pooled_bits" else column_r.astype(int).tolist()
            for name, column_r in watched.items()
        },
        "assumptions": assumptions(context),
    }


def _rates(context: Run) -> dict[str, Interval]:
    exposure = context.exposure
    return {"mismatch": exposure.mismatch, "suspicious": exposure.suspicious, "dangerous": exposure.dangerous}


def _limit(context: Run, bound: Bound) -> str:
    tokens, megabytes = context.exposure.total_tokens, bound.limit_bits / 8e6
    return f"at most {upper_fixed(bound.limit_bits / tokens, 4)} ({upper(megabytes, 3)} MB in {tokens} tokens)"


def _bits(context: Run, bound: Bound) -> dict[str, float]:
    exposure = context.exposure
    return {
        "audited": bound.audited_bits / exposure.tokens,
        "limit": bound.limit_bits / exposure.total_tokens,
        "limit_bits": bound.limit_bits,
    }


def _interval(rate: Interval) -> dict[str, float]:
    return {"value": rate.value, "low": rate.low, "high": rate.high}
