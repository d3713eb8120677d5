"""Conclusiveness of an audit: whether its bound limits what all answers could carry, and what it needs if not.

A verdict "clear" claims that a theft would have shown. Without evidence against the server this holds only once enough
was audited: then the upper limit of the bits per token is far below log2 V, the bits of a token that is chosen freely.
"""

from dataclasses import dataclass
from math import ceil, expm1, inf, log1p

from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.total_limit import UpperLimit

CONCLUSIVE_SHARE = 0.1
"""Largest share of log2 V at which the upper limit of the bits per token is conclusive.

At a tenth the audit excludes that more than a tenth of what the tokens can carry leaves unseen: a theft takes at least
ten times as long as without an audit. Honest traffic under calibrated policies is charged 0.3% to 1.3% of log2 V
(docs/results.md), so that the limit can fall so far.
"""


@dataclass(frozen=True, kw_only=True)
class Conclusiveness:
    """Conclusiveness of an audit without evidence against the server.

    Attributes:
        limit: upper limit of the bits per token of all records, audited or not; None if nothing was audited.
        most: log2 V, bits of a token that is chosen freely.
        tokens_needed: further audited tokens until the limit is conclusive, about, if they are like those so far; 0 if
            it is, inf if no number suffices.
    """

    limit: float | None
    most: float
    tokens_needed: float

    def __post_init__(self) -> None:
        if not self.most > 0 or (self.limit is not None and not self.limit >= 0) or not self.tokens_needed >= 0:
            raise StatisticsError(f"limits are bits, and tokens are counted: not {self}")

    @property
    def wanted(self) -> float:
        """The largest conclusive limit, bits per token."""
        return CONCLUSIVE_SHARE * self.most

    @property
    def conclusive(self) -> bool:
        """True if the limit is a statement: at most `wanted`."""
        return self.limit is not None and self.limit <= self.wanted

    @property
    def about_tokens_needed(self) -> int | None:
        """`tokens_needed` to two digits, upward, since it is an estimate; None if no number suffices."""
        if self.tokens_needed == inf:
            return None
        step = int(10 ** max(len(str(ceil(self.tokens_needed))) - 2, 0))
        return ceil(self.tokens_needed / step) * step

    @property
    def needs(self) -> str | None:
        """The missing evidence, as a sentence without its full stop; None if the audit is conclusive."""
        if self.conclusive:
            return None
        tokens = self.about_tokens_needed
        wanted = f"at most {self.wanted:.3g} bits a token, a tenth of what a free token carries"
        so_far = "nothing was audited" if self.limit is None else f"a token is limited to {self.limit:.3g} bits"
        if tokens is None:
            return f"{so_far}; a verdict needs {wanted}, and no number of audited tokens like these reaches it"
        return f"{so_far}; a verdict needs {wanted}: about {tokens:,} more audited tokens"


def tokens_needed(limit: UpperLimit, audited_tokens: int, most: float) -> float:
    """Further audited tokens of the same records until their limit is conclusive, about.

    If the other records are like the audited ones, the rate of the limit stays, and its stock is in proportion to
    1 / H, where H = -ln(1 - share) for the audited share of the tokens (`verifier.statistics.total_limit`).

    Args:
        limit: the limit of all records.
        audited_tokens: output tokens of the audited records.
        most: log2 V.

    Returns:
        The number; 0 if the limit is conclusive, inf if the rate alone is not.

    Raises:
        StatisticsError: there are no audited tokens, or more than tokens.
    """
    if not 0 < audited_tokens <= limit.tokens or not most > 0:
        raise StatisticsError(f"{audited_tokens} audited tokens of {limit.tokens} need no more")
    wanted = CONCLUSIVE_SHARE * most * limit.tokens
    if limit.bits <= wanted:
        return 0.0
    if limit.rate_bits >= wanted or audited_tokens == limit.tokens:
        return inf
    factor = limit.stock_bits / (wanted - limit.rate_bits)
    share = audited_tokens / limit.tokens
    return -limit.tokens * expm1(factor * log1p(-share)) - audited_tokens
