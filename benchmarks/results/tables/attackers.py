"""The table of attackers."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class AttackerRow(ResultRow):
    """Results of an attacker, or of a server that steals nothing.

    Attributes:
        attacker: its name.
        offered_bits: the payload that was to be sent; None for a server that steals nothing.
        decoded_bits: the payload that was decoded.
        decoded_bits_per_token: the same by the token.
        bound_bits: the bound of the whole pool, from all answers.
        bound_kept: whether the decoded payload exceeds the bound by no more than luck allows.
        limit_bits: the limit from an audit of a tenth, the median of the audits.
        limit_kept_share: the audits whose limit was kept.
        mismatch_share: the tokens that are not the replay's.
        messages_flagged_share_at_1e2: the messages with a p-value of at most 1e-2.
        messages_flagged_share_at_1e4: the messages with a p-value of at most 1e-4.
        days_flagged_share_at_1e2: the days with a p-value of at most 1e-2.
        days_flagged_share_at_1e4: the days with a p-value of at most 1e-4.
        tokens_to_alarm: the audited tokens until the monitor's alarm, the median; None where none comes.
        tokens_without_alarm: the tokens of the pool, where no alarm comes.
    """

    attacker: str
    offered_bits: float | None
    decoded_bits: float | None
    decoded_bits_per_token: float | None
    bound_bits: float
    bound_kept: bool | None
    limit_bits: float
    limit_kept_share: float | None
    mismatch_share: float
    messages_flagged_share_at_1e2: float
    messages_flagged_share_at_1e4: float
    days_flagged_share_at_1e2: float
    days_flagged_share_at_1e4: float
    tokens_to_alarm: float | None
    tokens_without_alarm: int | None


def _alarm(row: AttackerRow) -> str:
    return f"> {row.tokens_without_alarm}" if row.tokens_to_alarm is None else f"{row.tokens_to_alarm:.0f}"


def _stolen(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


ATTACKERS = ResultsTable[AttackerRow](
    Results[AttackerRow],
    (
        Column("attacker", lambda row: row.attacker, words=True),
        Column("bits offered", lambda row: _stolen(row.offered_bits, ".0f")),
        Column("decoded", lambda row: _stolen(row.decoded_bits, ".0f")),
        Column("bits/token", lambda row: _stolen(row.decoded_bits_per_token, ".3f")),
        Column("bound, bits", lambda row: f"{row.bound_bits:.0f}"),
        Column("kept", lambda row: "-" if row.bound_kept is None else "yes" if row.bound_kept else "NO"),
        Column("a tenth audited: limit", lambda row: f"{row.limit_bits:.0f}"),
        Column("kept", lambda row: _stolen(row.limit_kept_share, ".0%")),
        Column("mismatches", lambda row: f"{row.mismatch_share:.1%}"),
        Column("message 1e-2", lambda row: f"{row.messages_flagged_share_at_1e2:.0%}"),
        Column("message 1e-4", lambda row: f"{row.messages_flagged_share_at_1e4:.0%}"),
        Column("day 1e-2", lambda row: f"{row.days_flagged_share_at_1e2:.0%}"),
        Column("day 1e-4", lambda row: f"{row.days_flagged_share_at_1e4:.0%}"),
        Column("tokens to alarm", _alarm),
    ),
)
