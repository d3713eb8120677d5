"""The limit of a series: its parts, and the limit in words."""

from dataclasses import dataclass
from typing import Self

from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.statistics.rounding import upper, upper_bytes
from weightwarden.verifier.verification.series_limit import SeriesLimit


@dataclass(frozen=True, kw_only=True)
class LimitParts:
    """The limit of what the tokens and ends of all answers of a series have carried unseen, under one code.

    Attributes:
        audited: bits a token of the audited answers.
        rate: bits a token of all answers, at most: the part that grows with the traffic.
        stock_bits: bits that count once, however long the series is: what a few unaudited answers can hold.
        limit: bits a token of all answers so far, at most, both parts included.
        limit_bits: bits of all answers so far, at most.
        trivial: whether that is no less than all that the unaudited answers can hold.
    """

    audited: float
    rate: float
    stock_bits: float
    limit: float
    limit_bits: float
    trivial: bool

    @classmethod
    def of(cls, series: SeriesLimit, code: CodeName, confidence: float) -> Self | None:
        """The parts of the limit now; None before the first output token."""
        found, total = series.limit(code, confidence), series.totals[code]
        if found is None:
            return None
        growing = min(found.rate_bits + found.excess_bits, found.most_bits)
        return cls(
            audited=total.audited_bits / total.audited_tokens if total.audited_tokens else 0.0,
            rate=growing / found.tokens,
            stock_bits=found.stock_bits - found.excess_bits,
            limit=found.bits_per_token,
            limit_bits=found.bits,
            trivial=found.bits < found.rate_bits + found.stock_bits,
        )


def series_statement(series: SeriesLimit, code: CodeName, confidence: float, since: str) -> str | None:
    """The limit in a sentence; None before the first output token.

    Args:
        series: the series.
        code: the code under which it is charged.
        confidence: the limit's.
        since: the beginning, in words, e.g. "Since 2026-11-01 08:00 UTC".
    """
    parts = LimitParts.of(series, code, confidence)
    if parts is None:
        return None
    whole = series.records == series.audited_records
    records = f"{series.records:,} answer{'' if series.records == 1 else 's'}"
    said = (
        f"{since}, {records} with {series.tokens:,} output tokens,"
        f" {'every one audited' if whole else 'audited or not'}, have carried at most {upper_bytes(parts.limit_bits)}"
        f" unseen, {upper(parts.limit, 3)} bits a token"
    )
    if whole:
        return f"{said}."
    said = f"{said}, with {100 * confidence:g}% confidence"
    if parts.trivial:
        return f"{said}: all that the unaudited ones can hold, since too little was audited to say more."
    return (
        f"{said}: {upper(parts.rate, 3)} bits a token, which grow with the traffic, and"
        f" {upper_bytes(parts.stock_bits)} once, which a few unaudited answers can hold."
    )


def series_assumptions(confidence: float, covered: str) -> list[str]:
    """Assumptions of the limit, as sentences.

    Args:
        confidence: the limit's.
        covered: the answers that it covers, e.g. "the audits that were given".
    """
    return [
        f"The limit of the series holds at every moment since its beginning at once with {100 * confidence:g}%"
        " confidence, whatever the answers are. It rests on the draw alone: nobody who could change an answer knew"
        " whether it would be audited.",
        "It counts the messages that the tokens and the ends of answers allow, given their prompts and seeds, of all"
        f" answers of {covered}.",
    ]
