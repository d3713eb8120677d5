"""Options of traffic and audit for `verify estimate` and `verify plan`, and the display of figures."""

import json
from dataclasses import dataclass, replace
from typing import Any

import click

from weightwarden.cli.options.quantities import FiniteRange, Positive
from weightwarden.verifier.statistics.traffic import MONTH_DAYS, PRESETS, Traffic

TRAFFIC_OPTIONS = (
    click.option(
        "--preset",
        type=click.Choice(sorted(PRESETS)),
        help="Traffic of a provider, from public figures. Other options override parts of it.",
    ),
    click.option(
        "--output-tokens-per-day",
        type=Positive(),
        metavar="TOKENS",
        help="Output tokens a day, all sites together, e.g. 3e12.",
    ),
    click.option(
        "--tokens-per-message",
        type=Positive(),
        metavar="TOKENS",
        help="Mean number of output tokens of an answer. Default: 500.",
    ),
    click.option(
        "--output-share",
        type=FiniteRange(1e-6, 1),
        metavar="SHARE",
        help="Output tokens as a share of all tokens; the rest are prompts. Default: 0.1.",
    ),
    click.option(
        "--sites",
        type=click.IntRange(1, 10**6),
        metavar="COUNT",
        help="Number of data centres that share the traffic. Default: 1.",
    ),
    click.option(
        "--doubling-months",
        type=Positive(),
        metavar="MONTHS",
        help="Months in which the traffic doubles. Default: no growth.",
    ),
)
LENGTH_OPTION = click.option(
    "--length-limit",
    type=click.IntRange(1, 2**31),
    default=4096,
    show_default=True,
    metavar="TOKENS",
    help="Largest number of output tokens of an answer. An attacker makes altered answers this long.",
)
AUDIT_OPTIONS = (
    click.option(
        "--power",
        metavar="PROBABILITY",
        type=FiniteRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Probability that a fully altered message is flagged when it is audited.",
    ),
    click.option(
        "--confidence",
        metavar="PROBABILITY",
        type=FiniteRange(0.75, 1, max_open=True),
        default=0.99,
        show_default=True,
        help="Probability that the attacker is caught within the figures shown.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="Print JSON instead of a table. Field names contain the units."
    ),
)


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """Options that describe the traffic."""

    preset: str | None
    output_tokens_per_day: float | None
    tokens_per_message: float | None
    output_share: float | None
    sites: int | None
    doubling_months: float | None

    @property
    def describes_traffic(self) -> bool:
        """True if any option is given but the share of output tokens, which also says what an audit reads."""
        others = (self.preset, self.output_tokens_per_day, self.tokens_per_message, self.sites, self.doubling_months)
        return any(value is not None for value in others)

    def traffic(self) -> Traffic:
        """The preset's traffic, or the default, with the given options changed.

        Raises:
            click.UsageError: neither a preset nor a number of tokens is given.
            StatisticsError: the values describe no possible traffic.
        """
        given: dict[str, Any] = {
            name: value
            for name in ("output_tokens_per_day", "tokens_per_message", "output_share", "sites")
            if (value := getattr(self, name)) is not None
        }
        if self.doubling_months is not None:
            given["doubling_days"] = self.doubling_months * MONTH_DAYS
        if self.preset is not None:
            if given:
                given["source"] = f"{PRESETS[self.preset].source}; changed: {', '.join(sorted(given))}"
            return replace(PRESETS[self.preset], **given)
        if self.output_tokens_per_day is None:
            raise click.UsageError("the traffic is missing: give --output-tokens-per-day or --preset")
        return Traffic(**given)


def as_json_text(result: dict[str, Any]) -> str:
    """JSON of a result. Infinite values ("never", the logarithm of 0) are null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and abs(value) == float("inf") else value

    return json.dumps(finite(result), indent=2, allow_nan=False)


def traffic_assumptions(traffic: Traffic) -> list[str]:
    """Assumptions about the traffic, in words."""
    growth = "does not grow" if traffic.doubling_days is None else f"doubles every {traffic.doubling_days:.3g} days"
    return [
        f"Traffic: {traffic.output_tokens_per_day:.3g} output tokens a day at {traffic.sites} site(s),"
        f" {traffic.tokens_per_message:g} a message, {100 * traffic.output_share:g}% of all tokens; {growth}"
        f" ({traffic.source}).",
    ]
