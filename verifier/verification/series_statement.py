"""The limit of a series in words: of what, since when, at which confidence, and under which assumptions."""

from weightwarden.verifier.statistics.rounding import upper, upper_bytes
from weightwarden.verifier.statistics.total_limit import UpperLimit
from weightwarden.verifier.verification.series_limit import SeriesLimit


def series_statement(series: SeriesLimit, limit: UpperLimit, confidence: float, since: str) -> str:
    """The limit in a sentence.

    Args:
        series: the series.
        limit: its limit now.
        confidence: the limit's.
        since: the beginning, in words, e.g. "Since 2026-11-01 08:00 UTC".
    """
    whole = series.records == series.audited_records
    records = f"{series.records:,} answer{'' if series.records == 1 else 's'}"
    said = (
        f"{since}, {records} with {series.tokens:,} output tokens,"
        f" {'every one audited' if whole else 'audited or not'}, have carried at most {upper_bytes(limit.bits)} unseen,"
        f" {upper(limit.bits_per_token, 3)} bits a token"
    )
    if whole:
        return f"{said}."
    said = f"{said}, with {100 * confidence:g}% confidence"
    if limit.bits < limit.rate_bits + limit.stock_bits:
        return f"{said}: all that the unaudited ones can hold, since too little was audited to say more."
    growing, once = limit.rate_bits + limit.excess_bits, limit.stock_bits - limit.excess_bits
    return (
        f"{said}: {upper(growing / limit.tokens, 3)} bits a token, which grow with the traffic, and"
        f" {upper_bytes(once)} once, which a few unaudited answers can hold."
    )


def series_assumptions(confidence: float) -> list[str]:
    """What the limit rests on, and what it does not need, as sentences."""
    return [
        f"The limit of the series holds at every moment since its beginning at once with {100 * confidence:g}%"
        " confidence, whatever the answers are. It rests on the draw alone: nobody who could change an answer knew"
        " whether it would be audited.",
        "It counts the messages that the tokens and the ends of answers allow, given their prompts and seeds. It covers"
        " the archives whose audit is complete: what is missing, waits or is in quarantine is not in it.",
    ]
