"""The statistics of a run, as text for reports and as JSON for other commands."""

from dataclasses import dataclass
from math import ceil, expm1, log1p
from typing import Any

import numpy as np

from weightwarden.cli.reports.bounds import CONFIDENCE_TEXT, BoundRow, bound_contents, bound_rows, scope
from weightwarden.cli.reports.timing import timing_rows
from weightwarden.cli.reports.weakness import weakness
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.ledger import CODED_BITS
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.statistics.detection import alarm_probability, altered_before_alarm
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.statistics.rounding import lower_fixed, upper_fixed
from weightwarden.verifier.statistics.sampling_design import END_TOKENS, UNIT_TOKENS, SamplingDesign
from weightwarden.verifier.verification.exposure import CONFIDENCE
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.series_monitor import LOG_RATIO


@dataclass(frozen=True)
class RateRow:
    """One rate, as text.

    Attributes:
        name: its name.
        value: the share of the audited tokens.
        limits: limits of the share of all tokens.
        meaning: one sentence: of what it is the share, and at which confidence.
    """

    name: str
    value: str
    limits: str
    meaning: str


@dataclass(frozen=True)
class ChargeRow:
    """One figure that is a code length or an entropy, and no bound, as text."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Figures:
    """The figures of a run's exposure, as text.

    Attributes:
        whose: the records of the limits, and the confidence.
        bounds: the bandwidth bounds, and the timing.
        rates: shares of the tokens.
        charges: figures that are no bounds.
        assumptions: assumptions behind the figures.
    """

    whose: str
    bounds: list[BoundRow]
    rates: list[RateRow]
    charges: list[ChargeRow]
    assumptions: list[str]


def figures(context: Run) -> Figures:
    """The figures of a run, as text."""
    records, complete = context.given.audited.records, context.given.audited.complete
    return Figures(
        whose=f"all {records} records" + ("" if complete else f", {CONFIDENCE_TEXT} confidence"),
        bounds=[*bound_rows(context), *timing_rows(context)],
        rates=[
            RateRow(
                name,
                f"{100 * rate.value:.3f}%",
                f"{lower_fixed(100 * rate.low, 3)}% to {upper_fixed(100 * rate.high, 3)}%",
                f"{scope(context)}, the share of output tokens that {_RATES[name]} lies between these limits.",
            )
            for name, rate in _rates(context).items()
        ],
        charges=_charges(context),
        assumptions=assumptions(context),
    )


_RATES = {
    "mismatch": "differ from the replay's own choice",
    "suspicious": "are implausible, but among the most likely ones,",
    "dangerous": "are implausible, and could be any token,",
}


def verdict_meaning(context: Run) -> str:
    """One sentence about the verdict of a run."""
    found = context.verification
    level = f"{RUN_ALARM_LEVEL:g}"
    if context.verdict == "alarm":
        return f"ALARM: an honest server would cause an alarm with probability {level} or less."
    if context.verdict == "incomplete":
        return (
            f"INCOMPLETE: no alarm, but {len(found.unverifiable)} records have no verdict, so that this run is no pass."
        )
    if context.verdict == "inconclusive":
        return (
            "INCONCLUSIVE: no alarm, but too little was audited to say anything about the other records:"
            f" {context.exposure.leading.conclusiveness.needs}."
        )
    return (
        f"CLEAR: no alarm; an honest server causes a false one with probability {level} or less. What could have been"
        " hidden all the same is stated below."
    )


def _charges(context: Run) -> list[ChargeRow]:
    found, exposure = context.verification, context.exposure
    rows = [
        ChargeRow(
            "charged",
            f"{found.charged_bits_per_token:.4f} ({100 * found.charged_fraction:.3f}% of log2 V)",
            "Mean code length of the audited tokens under the design's charge. It is no limit: it omits that an"
            " attacker also chooses where a token is suspicious.",
        )
    ]
    if exposure.entropy_bits_per_token is not None:
        rows.append(
            ChargeRow(
                "honest entropy",
                f"{exposure.entropy_bits_per_token:.4f}",
                "Entropy of honest tokens under the policy's noise, on these positions. It is no limit of this server:"
                " it is what no threshold can take from an attacker who imitates honest choices.",
            )
        )
    return rows


def assumptions(context: Run) -> list[str]:
    """Assumptions behind the figures, in words."""
    said = ["Bounds count every message that these prompts and seeds allow, along the tokens that were sent."]
    design, audited = context.given.design, context.given.audited
    if design is not None:
        said.append(catching(design, audited.records, audited.tokens))
        said.append("Limits for all records hold over the draw of the audited ones; a few audited records say little.")
        if design.by == "tokens":
            said.append("Shares of the audited records weigh each one by 1 / the probability with which it was drawn.")
    if context.verification.unverifiable:
        said.append(
            f"{len(context.verification.unverifiable)} records have no verdict: they are charged in full, and count as"
            " dangerous in the shares."
        )
    if not context.given.signed:
        said.append("The traffic is unsigned: nothing says that these are all the records, or their true seeds.")
    elif context.given.warning is not None:
        said.append(f"Taken on trust: {context.given.warning}.")
    said += weakness(context.policy.made_for.scheme, context.verification.charged_bits_per_token)
    said.append("Readiness and whatever bypassed the log are not in them (docs/statistics.md).")
    return said


def catching(design: SamplingDesign, records: int, tokens: int) -> str:
    """The number of altered records, or of their tokens, of which an audit sees one, in words.

    By tokens a record of n tokens escapes the draw with probability 1 - p <= exp(-rate (n + 8) / 1024), so that altered
    records escape it together with at most exp(-rate / 1024) for each of their tokens, however they are divided.

    Args:
        design: the sampling design.
        records: number of all records.
        tokens: their output tokens.
    """
    audit_rate, unless = design.rate, "if nobody can foresee which records are audited"
    if design.by == "tokens":
        begin = f"At audit rate {audit_rate:g} by tokens,"
        if (needed := ceil(-log1p(-CONFIDENCE) * UNIT_TOKENS / audit_rate)) > tokens:
            seen = -expm1(-audit_rate * (tokens + END_TOKENS * records) / UNIT_TOKENS)
            return (
                f"{begin} {records} altered records, all of them, would have one audited with probability"
                f" {lower_fixed(seen, 3)} or more, {unless}."
            )
        return (
            f"{begin} altered records of {needed:,} output tokens together, however long each is, have one audited with"
            f" probability {CONFIDENCE:g} or more, {unless}."
        )
    needed = altered_before_alarm(CONFIDENCE, audit_rate=audit_rate)
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
    audited, charges = context.given.audited, context.verification.charges
    return {
        "confidence": CONFIDENCE,
        "total_tokens": exposure.total_tokens,
        "longest_record_tokens": audited.longest,
        "log2_vocabulary": float(np.log2(context.verification.vocabulary)),
        "rates": {name: _interval(rate) for name, rate in _rates(context).items()},
        "bits_per_token": {
            "counting": bound_contents(context, exposure.counting),
            "pooled": bound_contents(context, exposure.pooled),
            "leading_code": exposure.leading_code,
            "honest_entropy": exposure.entropy_bits_per_token,
        },
        "records": {
            **{name: _column(name, values) for name, values in watched.items()},
            "tokens": charges.tokens_r.tolist(),
            "pooled_bits": np.round(charges.pooled_token_bits_r, 6).tolist(),
            "probability": audited.probabilities(audited.tokens_r).tolist(),
            "counting_bits": np.round(charges.counting_bits_r - CODED_BITS, 6).tolist(),
            "end_bits": np.round(charges.end_bits_r + CODED_BITS, 6).tolist(),
        },
        "unaudited": {
            "tokens": audited.unaudited.tokens_u.tolist(),
            "records": audited.unaudited.records_u.tolist(),
        },
        "assumptions": assumptions(context),
    }


def _column(name: str, values: FloatArray) -> list[Any]:
    """A column of the records. Ratios are exact (`RESOLUTION`)."""
    return list(values.tolist() if name == LOG_RATIO else values.astype(int).tolist())


def _rates(context: Run) -> dict[str, Interval]:
    exposure = context.exposure
    return {"mismatch": exposure.mismatch, "suspicious": exposure.suspicious, "dangerous": exposure.dangerous}


def _interval(rate: Interval) -> dict[str, float]:
    return {"value": rate.value, "low": max(rate.low, 0.0), "high": min(rate.high, 1.0)}
