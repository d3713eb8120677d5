"""Options of traffic and audit that `verify estimate` and `verify plan` share, and the display of figures."""

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
        help="Traffic of a provider, from public figures; other options change parts of it.",
    ),
    click.option(
        "--output-tokens-per-day", type=Positive(), metavar="N", help="Output tokens of all sites, a day, such as 3e12."
    ),
    click.option(
        "--tokens-per-message", type=Positive(), metavar="N", help="Mean output tokens of an answer. Default: 500."
    ),
    click.option(
        "--output-share",
        type=FiniteRange(1e-6, 1),
        metavar="SHARE",
        help="Share of all tokens that are output; the rest are prompts. Default: 0.1.",
    ),
    click.option(
        "--sites", type=click.IntRange(1, 10**6), metavar="N", help="Data centres that share the traffic. Default: 1."
    ),
    click.option(
        "--doubling-months", type=Positive(), metavar="N", help="Months in which traffic doubles. Default: it does not."
    ),
)
LENGTH_OPTION = click.option(
    "--length-limit",
    type=click.IntRange(1, 2**31),
    default=4096,
    show_default=True,
    metavar="N",
    help="Most tokens of an answer: as long an attacker makes those that are altered.",
)
AUDIT_OPTIONS = (
    click.option(
        "--power",
        type=FiniteRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Probability that a wholly altered message is flagged when it is audited.",
    ),
    click.option(
        "--confidence",
        type=FiniteRange(0.75, 1, max_open=True),
        default=0.99,
        show_default=True,
        help="Probability with which the attacker is caught within the figures shown.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table; units are in the names."),
)


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """What the command line says of the traffic."""

    preset: str | None
    output_tokens_per_day: float | None
    tokens_per_message: float | None
    output_share: float | None
    sites: int | None
    doubling_months: float | None

    def traffic(self) -> Traffic:
        """The traffic: the preset, with what else is given changed.

        Raises:
            click.UsageError: neither a preset nor a number of tokens. StatisticsError: no such traffic.
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
            raise click.UsageError("how much traffic? --output-tokens-per-day N or --preset NAME")
        return Traffic(**given)


def as_json_text(result: dict[str, Any]) -> str:
    """JSON of a result; what is infinite ("never", the logarithm of 0) is null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and abs(value) == float("inf") else value

    return json.dumps(finite(result), indent=2, allow_nan=False)


def traffic_assumptions(traffic: Traffic) -> list[str]:
    """What is taken for granted about the traffic, in words."""
    growth = "does not grow" if traffic.doubling_days is None else f"doubles every {traffic.doubling_days:.3g} days"
    return [
        f"Traffic: {traffic.output_tokens_per_day:.3g} output tokens a day at {traffic.sites} site(s),"
        f" {traffic.tokens_per_message:g} a message, {100 * traffic.output_share:g}% of all tokens; {growth}"
        f" ({traffic.source}).",
    ]
