"""Options of the channels beside tokens in `verify estimate`: timing and readiness."""

from dataclasses import dataclass
from typing import Any

import click

from weightwarden.cli.options.quantities import FiniteRange, Positive
from weightwarden.cli.reports.contents import Timing
from weightwarden.logger.release import Pace, PaceError
from weightwarden.verifier.statistics.exfiltration import DAY_SECONDS, READINESS_SECONDS, TimingChannel


class PaceType(click.ParamType[Pace]):
    """A pace, TOKENS/MILLISECONDS."""

    name = "pace"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Pace:
        """The pace."""
        try:
            return value if isinstance(value, Pace) else Pace.parse(value)
        except PaceError as error:
            self.fail(str(error), param, ctx)


TIMING_OPTIONS = (
    click.option(
        "--timing-bits-per-token",
        type=FiniteRange(0),
        metavar="BITS",
        help="Bits of timing per token, as a report charges them. Default: the report's, if all its answers left at a"
        " pace; else timing leaks.",
    ),
    click.option(
        "--release-pace",
        type=PaceType(),
        metavar="TOKENS/MS",
        help="Pace at which the sidecar releases answers, e.g. 8/200, where no report has the timing.",
    ),
    click.option(
        "--underrun-share",
        type=FiniteRange(0, 1, max_open=True),
        metavar="SHARE",
        help="Share of the ticks of --release-pace that may find too few tokens. Default: 0.001.",
    ),
    click.option(
        "--tokens-per-tick",
        type=Positive(),
        metavar="TOKENS",
        help="Mean number of tokens that a stream releases on a tick of the sidecar's --release-tick. A loose bound.",
    ),
    click.option(
        "--token-gap",
        type=Positive(),
        default=20.0,
        show_default=True,
        metavar="MILLISECONDS",
        help="Mean time between tokens, in milliseconds (without ticks).",
    ),
    click.option(
        "--clock",
        type=Positive(),
        default=1.0,
        show_default=True,
        metavar="MILLISECONDS",
        help="Resolution of the receiver's clock, in milliseconds (without ticks).",
    ),
    click.option(
        "--sidecars",
        type=click.IntRange(0, 10**6),
        default=1,
        show_default=True,
        metavar="COUNT",
        help="Number of sidecars whose readiness an outsider can read.",
    ),
    click.option(
        "--ready-every",
        type=Positive(),
        default=READINESS_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="Seconds between two checks of the inference server by a sidecar: each can carry one bit.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class TimingOptions:
    """Options of timing and readiness."""

    timing_bits_per_token: float | None
    release_pace: Pace | None
    underrun_share: float | None
    tokens_per_tick: float | None
    token_gap: float
    clock: float
    sidecars: int
    ready_every: float

    @property
    def readiness_per_day(self) -> float:
        """Checks of the readiness by all sidecars a day."""
        return self.sidecars * DAY_SECONDS / self.ready_every

    def channel(self, report: Timing | None, tokens_per_message: float) -> TimingChannel:
        """The timing: the report's, or that of the options.

        Args:
            report: timing of a report, or None.
            tokens_per_message: mean output tokens of an answer.

        Raises:
            click.UsageError: more than one of them is given.
        """
        given = (self.timing_bits_per_token, self.release_pace, self.tokens_per_tick)
        if sum(one is not None for one in given) > 1:
            raise click.UsageError("give only one of --timing-bits-per-token, --release-pace and --tokens-per-tick")
        if self.underrun_share is not None and self.release_pace is None:
            raise click.UsageError("--underrun-share requires --release-pace")
        if report is not None and report.state == "paced":
            if any(one is not None for one in given):
                raise click.UsageError("the report has the timing: give none of its options")
            return TimingChannel(charged=report.bits_per_token)
        if self.release_pace is not None:
            share = 1e-3 if self.underrun_share is None else self.underrun_share
            return TimingChannel.paced(self.release_pace, tokens_per_message, share)
        return TimingChannel(
            charged=self.timing_bits_per_token,
            tokens_per_tick=self.tokens_per_tick,
            gap=self.token_gap,
            resolution=self.clock,
        )

    def source(self, channel: TimingChannel, report: Timing | None) -> str:
        """The timing's assumption, as a sentence."""
        bits = f"{channel.bits_per_token:.2g} bits a token"
        if report is not None and report.state == "paced":
            return f"Timing: {bits}, the report's charge for the release of all {report.records:,} answers."
        lacking = (
            f" In the report {report.open_records:,} of {report.open_records + report.records:,} answers have none."
            if report is not None
            else ""
        )
        if self.release_pace is not None:
            share = 1e-3 if self.underrun_share is None else self.underrun_share
            return (
                f"Timing: released at {self.release_pace}, a start slot an answer and {100 * share:g}% underruns among"
                f" the ticks: {bits}.{lacking}"
            )
        if self.timing_bits_per_token is not None:
            return f"Timing: {bits}, as given.{lacking}"
        if self.tokens_per_tick is not None:
            return f"Timing: {self.tokens_per_tick:g} tokens a tick on average, their number free: {bits}.{lacking}"
        return (
            f"Timing is open: {bits} more, for tokens {self.token_gap:g} ms apart that a receiver tells to"
            f" {self.clock:g} ms.{lacking}"
        )
