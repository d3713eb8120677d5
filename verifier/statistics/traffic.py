"""Estimates of traffic, with their units and sources."""

from dataclasses import dataclass, replace

from weightwarden.verifier.statistics.errors import StatisticsError

MONTH_DAYS = 365.25 / 12


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The traffic of one provider.

    Attributes:
        output_tokens_per_day: output tokens of all sites, a day, now.
        output_share: share of all tokens that are output; the rest are prompts.
        tokens_per_message: mean output tokens of an answer.
        sites: data centres that share the traffic evenly.
        doubling_days: days in which traffic doubles; None when it does not grow.
        source: source of the figures.
    """

    output_tokens_per_day: float
    output_share: float = 0.1
    tokens_per_message: float = 500.0
    sites: int = 1
    doubling_days: float | None = None
    source: str = "as given"

    def __post_init__(self) -> None:
        if not (
            0 < self.output_tokens_per_day < float("inf")
            and 0 < self.output_share <= 1
            and 1 <= self.tokens_per_message < float("inf")
            and self.sites >= 1
            and (self.doubling_days is None or self.doubling_days > 0)
        ):
            raise StatisticsError(f"no such traffic: {self}")

    @property
    def messages_per_day(self) -> float:
        """Answers of all sites, a day."""
        return self.output_tokens_per_day / self.tokens_per_message

    @property
    def all_tokens_per_day(self) -> float:
        """Prompt and output tokens of all sites, a day."""
        return self.output_tokens_per_day / self.output_share

    def bytes_per_day(self, bytes_per_token: float = 2.0) -> float:
        """Bytes a day that the output could carry without any audit; 2 bytes a token is a vocabulary of 65,536."""
        return self.output_tokens_per_day * bytes_per_token

    def per_site(self) -> "Traffic":
        """The traffic of one site."""
        return replace(self, output_tokens_per_day=self.output_tokens_per_day / self.sites, sites=1)

    def after(self, days: float) -> "Traffic":
        """The traffic some days later, with growth."""
        if self.doubling_days is None:
            return self
        return replace(self, output_tokens_per_day=self.output_tokens_per_day * 2 ** (days / self.doubling_days))


def _provider(tokens_per_month: float, source: str) -> Traffic:
    return Traffic(
        output_tokens_per_day=tokens_per_month * 0.1 / MONTH_DAYS,
        sites=10,
        doubling_days=2 * MONTH_DAYS,
        source=f"{source}; taken for 10% output, 10 data centres, doubling every 2 months",
    )


PRESETS = {
    "provider-2025-05": _provider(500e12, "one provider's own figure for May 2025, 500 trillion tokens a month"),
    "provider-2025-07": _provider(1e15, "one provider's own figure for July 2025, 1 quadrillion tokens a month"),
}
"""Traffic by name, from public figures (docs/design.md, section 1)."""
