"""The plots of the HTML report, in plot units: x to the right, y downwards."""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log2, log10

from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.summary import MARGIN_ENDS

PLOT_WIDTH, PLOT_HEIGHT = 560, 240
TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A number on an axis, at a place along it."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram."""

    x: float
    width: float
    height: float
    label: str
    count: int
    kind: str


@dataclass(frozen=True)
class Histogram:
    """Tokens by margin, with the numbers of the vertical axis (logarithmic)."""

    bars: list[Bar]
    counts: list[Tick]


@dataclass(frozen=True)
class Dot:
    """One threshold of the trade-off."""

    x: float
    y: float
    label: str
    chosen: bool


@dataclass(frozen=True)
class TradeOff:
    """The trade-off of every tolerance, with the numbers of both axes.

    Attributes:
        dots: the tolerances.
        bits: numbers of the horizontal axis, bits a token.
        shares: numbers of the vertical axis, shares of tokens (logarithmic).
        chosen: figures of the policy's tolerance, in words; None if it is not among them.
    """

    dots: list[Dot]
    bits: list[Tick]
    shares: list[Tick]
    chosen: str | None


def histogram(context: Run) -> Histogram:
    """Tokens by margin on a log scale: one bar for exact matches, one a bin, and one for tokens outside the support."""
    labels = [
        "0",
        *(f"{a:g}-{b:g}" for a, b in pairwise(MARGIN_EDGES)),
        f">{MARGIN_EDGES[-1]:g}",
        "out",
    ]
    counts = context.verification.summary.margins_b.tolist()
    top = log10(1 + max(counts))
    width = PLOT_WIDTH / len(counts)
    threshold = context.policy.tolerance.margin

    def height(count: float) -> float:
        return PLOT_HEIGHT * log10(1 + count) / top

    return Histogram(
        bars=[
            Bar(
                x=i * width,
                width=width - 3,
                height=height(count),
                label=label,
                count=count,
                kind="safe" if MARGIN_ENDS[i + 1] <= threshold else "beyond",
            )
            for i, (label, count) in enumerate(zip(labels, counts, strict=True))
        ],
        counts=[
            Tick(PLOT_HEIGHT - height(count), f"{count:,}")
            for count in (0, *(10**power for power in range(floor(log10(max(counts))) + 1)))
        ],
    )


def trade_off(context: Run) -> TradeOff | None:
    """Trade-off of every tolerance, measured on records that are not flagged: tokens beyond it are false positives.

    x is the information left to an attacker, y the share of tokens beyond the tolerance (log scale).
    """
    found = context.verification
    if not found.trade_off:
        return None
    bits = [point.bits_per_token for point in found.trade_off]
    beyond = [point.suspicious + point.dangerous for point in found.trade_off]
    floor_share = 0.3 / found.tokens
    low, high = log10(floor_share), log10(max(*beyond, 10 * floor_share))
    widest = max(bits) or 1.0

    def height(share: float) -> float:
        return PLOT_HEIGHT * (1 - (log10(max(share, floor_share)) - low) / (high - low))

    dots = [
        Dot(
            x=PLOT_WIDTH * bit / widest,
            y=height(share),
            label=(
                f"margin {point.margin:g} logits: {100 * share:.3f}% of tokens beyond,"
                f" {bit:.4f} bits a token ({100 * bit / log2(found.vocabulary):.3f}% of log2 V) charged"
            ),
            chosen=point.margin == context.policy.tolerance.margin,
        )
        for point, bit, share in zip(found.trade_off, bits, beyond, strict=True)
    ]
    return TradeOff(
        dots=dots,
        bits=[Tick(PLOT_WIDTH * bit / widest, f"{bit:g}") for bit in _round_numbers(widest)],
        shares=[
            Tick(PLOT_HEIGHT, "0"),
            *(
                Tick(height(10.0**power), f"{10.0 ** (power + 2):g}%")
                for power in range(ceil(low + 0.1), floor(high) + 1)
            ),
        ],
        chosen=next((dot.label for dot in dots if dot.chosen), None),
    )


def _round_numbers(most: float) -> list[float]:
    """Round numbers from 0 to at most `most`, evenly spaced."""
    rough = most / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(step * i, 12) for i in range(floor(most / step + 1e-9) + 1)]
