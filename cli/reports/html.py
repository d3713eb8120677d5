"""The HTML report of a run: one self-contained page, for the screen and for paper."""

from math import isnan
from typing import Any

import numpy as np

from weightwarden import __version__
from weightwarden.cli.reports.contents import REPORT_FORMAT
from weightwarden.cli.reports.figures import figures, verdict_meaning
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.plots import PLOT_HEIGHT, PLOT_WIDTH, histogram, trade_off
from weightwarden.extras import needs_extra
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.input_file import TrafficInput, short_name
from weightwarden.verifier.verification.record_verdict import RecordVerdict, TokenDetail
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.summary import ShownRecord

SHOWN_UNVERIFIABLE = 1000
SHOWN_TOKENS = 2000
SHOWN_WORST = 5
SHOWN_INPUTS = 200


def html_report(context: Run, identity: ReportIdentity) -> str:
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
        identity=identity,
        version=__version__,
        report_format=REPORT_FORMAT,
        model_name=short_name(context.model_path),
        policy_name=None if identity.policy_path is None else short_name(identity.policy_path),
        inputs=[_input(one) for one in context.given.inputs[:SHOWN_INPUTS]],
        hidden_inputs=max(len(context.given.inputs) - SHOWN_INPUTS, 0),
        log_keys=sorted({key for one in context.given.inputs for key in getattr(one, "keys", [])}),
        found=found,
        policy=policy,
        meaning=verdict_meaning(context),
        counts={verdict.name.lower(): found.count(verdict) for verdict in Verdict},
        outside_grammar=found.outside_grammar,
        forced=found.forced,
        figures=figures(context),
        histogram=histogram(context),
        trade_off=trade_off(context),
        plot={"width": PLOT_WIDTH, "height": PLOT_HEIGHT},
        shown=[_record(context, record) for record in flagged],
        hidden=len(found.flagged) - len(flagged),
        unverifiable=[
            (context.given.indices[record.place], context.given.place(record.place).short, record.tokens, record.why)
            for record in found.unverifiable[:SHOWN_UNVERIFIABLE]
        ],
    )


def _input(one: Any) -> dict[str, str]:
    """A row of the table of inputs."""
    what = (
        f"traffic file, {one.records} records"
        if isinstance(one, TrafficInput)
        else f"archive, records {one.start} to {one.end - 1}; checkpoint of {one.size} records, root {one.root}"
    )
    return {"name": short_name(one.path), "what": what, "sha256": one.sha256}


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
                "title": f"position {at}, id {token}: {_scores(tokens, at)}",
            }
            for at, token in enumerate(shown)
        ],
        "hidden": len(record.output_token_ids) - len(shown),
        "worst": _worst(context, verdict, record.output_token_ids),
    }


def _scores(tokens: TokenDetail, at: int) -> str:
    """A token's scores in words; a forced token has none."""
    if tokens.forced[at]:
        return f"forced, {tokens.charged_bits[at]:.2f} bits charged"
    return (
        f"margin {tokens.margin[at]:.3f} logits, logit rank"
        f" {tokens.logit_rank[at]}, Gumbel rank {tokens.gumbel_rank[at]},"
        f"{_likelihood(tokens.likelihood_score[at])} {tokens.admissible[at]} admissible,"
        f" {tokens.charged_bits[at]:.2f} bits charged" + (", outside the grammar" if tokens.outside_grammar[at] else "")
    )


def _margin(tokens: TokenDetail, at: int) -> str:
    """A token's margin, in words where it has none."""
    if np.isfinite(tokens.margin[at]):
        return f"{tokens.margin[at]:.2f}"
    if tokens.forced[at]:
        return "said to be forced"
    return "outside the grammar" if tokens.outside_grammar[at] else "outside the support"


def _worst(context: Run, verdict: RecordVerdict, output: list[int]) -> list[dict[str, Any]]:
    """The least plausible tokens of a record, for paper, where no pointer shows the scores."""
    tokens = verdict.tokens
    order = np.argsort(-tokens.margin, kind="stable")
    return [
        {
            "position": int(at),
            "text": context.token_text(output[at]),
            "kind": Verdict(int(tokens.verdict[at])).name.lower(),
            "margin": _margin(tokens, int(at)),
            "rank": int(tokens.logit_rank[at]),
            "bits": f"{tokens.charged_bits[at]:.2f}",
        }
        for at in order[:SHOWN_WORST]
        if tokens.verdict[at] != Verdict.SAFE
    ]
