"""The HTML report of a run: one self-contained page."""

from dataclasses import dataclass
from itertools import pairwise
from math import isnan, log2, log10
from typing import Any

from weightwarden.cli.reports.figures import figures
from weightwarden.extras import needs_extra
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.summary import MARGIN_ENDS, ShownRecord

SHOWN_UNVERIFIABLE = 1000
SHOWN_TOKENS = 2000
PLOT_WIDTH, PLOT_HEIGHT = 560, 240


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram, in plot units."""

    x: float
    width: float
    height: float
    label: str
    count: int
    kind: str


@dataclass(frozen=True)
class Dot:
    """One threshold of the trade-off, in plot units."""

    x: float
    y: float
    label: str
    chosen: bool


def html_report(context: Run) -> str:
    """The page, with all text of records escaped.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    with needs_extra("replay"):
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("weightwarden.cli", "reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    found, policy = context.verification, context.policy
    flagged = [record for record in found.summary.shown if record.verdict.flagged]
    return environment.get_template("page.html.jinja").render(
        context=context,
        found=found,
        policy=policy,
        counts={verdict.name.lower(): found.count(verdict) for verdict in Verdict},
        figures=figures(context),
        bars=histogram(context),
        dots=trade_off(context),
        plot={"width": PLOT_WIDTH, "height": PLOT_HEIGHT},
        shown=[_record(context, record) for record in flagged],
        hidden=len(found.flagged) - len(flagged),
        unverifiable=[
            (context.given.indices[record.place], context.given.place(record.place).short, record.tokens, record.why)
            for record in found.unverifiable[:SHOWN_UNVERIFIABLE]
        ],
    )


def histogram(context: Run) -> list[Bar]:
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
    return [
        Bar(
            x=i * width,
            width=width - 3,
            height=PLOT_HEIGHT * log10(1 + count) / top,
            label=label,
            count=count,
            kind="safe" if MARGIN_ENDS[i + 1] <= threshold else "beyond",
        )
        for i, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]


def trade_off(context: Run) -> list[Dot]:
    """Trade-off of every tolerance, measured on records that are not flagged: tokens beyond it are false positives.

    x is the information left to an attacker, y the share of tokens beyond the tolerance (log scale).
    """
    found = context.verification
    if not found.trade_off:
        return []
    bits = [point.bits_per_token for point in found.trade_off]
    beyond = [point.suspicious + point.dangerous for point in found.trade_off]
    floor = 0.3 / found.tokens
    low, high = log10(floor), log10(max(*beyond, 10 * floor))
    chosen = context.policy.tolerance.margin
    return [
        Dot(
            x=PLOT_WIDTH * bit / max(bits) if max(bits) > 0 else 0.0,
            y=PLOT_HEIGHT * (1 - (log10(max(share, floor)) - low) / (high - low)),
            label=(
                f"margin {point.margin:g} logits: {100 * share:.3f}% of tokens beyond,"
                f" {100 * bit / log2(found.vocabulary):.3f}% of log2 V charged"
            ),
            chosen=point.margin == chosen,
        )
        for point, bit, share in zip(found.trade_off, bits, beyond, strict=True)
    ]


def _likelihood(score: float) -> str:
    return "" if isnan(score) else f" likelihood score {score:.2f} nats,"


def _record(context: Run, record: ShownRecord) -> dict[str, Any]:
    verdict, tokens = record.verdict, record.verdict.tokens
    shown = record.output_token_ids[:SHOWN_TOKENS]
    return {
        "number": context.given.indices[verdict.index],
        "place": context.given.place(verdict.index).short,
        "verdict": verdict,
        "probability": bound_text(verdict.p_value),
        "tokens": [
            {
                "text": context.token_text(token),
                "kind": Verdict(int(tokens.verdict[at])).name.lower(),
                "title": (
                    f"position {at}, id {token}: margin {tokens.margin[at]:.3f} logits, logit rank"
                    f" {tokens.logit_rank[at]}, Gumbel rank {tokens.gumbel_rank[at]},"
                    f"{_likelihood(tokens.likelihood_score[at])} {tokens.admissible[at]} admissible,"
                    f" {tokens.charged_bits[at]:.2f} bits charged"
                ),
            }
            for at, token in enumerate(shown)
        ],
        "hidden": len(record.output_token_ids) - len(shown),
    }
