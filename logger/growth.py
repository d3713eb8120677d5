"""Growth of a store with the traffic, from what it holds now."""

from dataclasses import dataclass

DAYS_A_YEAR = 365.25


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Bytes that a store takes for the traffic.

    Attributes:
        bytes_per_token: bytes for each output token that it stores.
        tokens_a_day: output tokens that it stores a day.
        days_kept: days that its content stays; None for ever.
    """

    bytes_per_token: float
    tokens_a_day: float
    days_kept: float | None

    @property
    def bytes_a_day(self) -> float:
        """Bytes that a day adds."""
        return self.bytes_per_token * self.tokens_a_day

    @property
    def bytes_after_a_year(self) -> float:
        """Bytes that are there after a year, less than what was added if it is removed again."""
        kept = DAYS_A_YEAR if self.days_kept is None else min(self.days_kept, DAYS_A_YEAR)
        return self.bytes_a_day * kept
