"""The table of the limits of all records: their widths, beside those before and beside the least that can hold."""

from benchmarks.results.file import ResultRow, Results
from benchmarks.results.table import Column, ResultsTable


class LimitsRow(ResultRow):
    """The upper limit of the bits of all records of some traffic, from an audit of a part.

    Bits a token are per output token of all records; limits are medians over draws.

    Attributes:
        traffic: the records.
        days: number of days with such records.
        audit_by: what the audit draws in proportion to.
        records: number of all records.
        tokens: their output tokens, millions.
        audited_share: mean share of the output tokens that was audited.
        seen: mean bits a token of the records.
        before: the limit of the method before (one draw: betting without replacement, a grid of tilts); summed over the
            days. None where that method has none.
        limit: the limit.
        rate: its part that grows with the traffic.
        stock_kilobytes: its part that counts once.
        least: no valid limit is smaller: what is there, and what else an attacker could have hidden in the records that
            escape this audit together with probability 1%.
    """

    traffic: str
    days: int
    audit_by: str
    records: int
    tokens: float
    audited_share: float
    seen: float
    before: float | None
    limit: float
    rate: float
    stock_kilobytes: float
    least: float


LIMITS = ResultsTable[LimitsRow](
    Results[LimitsRow],
    (
        Column("traffic", lambda row: row.traffic, words=True),
        Column("days", lambda row: f"{row.days}"),
        Column("drawn by", lambda row: row.audit_by, words=True),
        Column("audited", lambda row: f"{100 * row.audited_share:.2f}%"),
        Column("seen, bits a token", lambda row: f"{row.seen:.3f}"),
        Column("limit before", lambda row: "" if row.before is None else f"{row.before:.2f}"),
        Column("limit", lambda row: f"{row.limit:.3f}"),
        Column("of it a rate", lambda row: f"{row.rate:.3f}"),
        Column("and once, kB", lambda row: f"{row.stock_kilobytes:,.0f}"),
        Column("least possible", lambda row: f"{row.least:.3f}"),
    ),
)
