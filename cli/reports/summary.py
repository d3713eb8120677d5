"""The summary of a run for a terminal."""

import textwrap

import numpy as np

from weightwarden.cli.reports.figures import figures, verdict_meaning
from weightwarden.cli.reports.units import duration_text
from weightwarden.cli.reports.weakness import weakness
from weightwarden.text import printable
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_counts import RecordCounts
from weightwarden.verifier.verification.record_verdict import RecordVerdict
from weightwarden.verifier.verification.run import Run
from weightwarden.verifier.verification.summary import ShownRecord

SHOWN_RECORDS = SHOWN_ADAPTERS = 10
SHOWN_TOKENS = 3
DIGEST_PREFIX = "sha256:"
CONTEXT_BEFORE, CONTEXT_AFTER = 8, 4
WIDTH, INDENT = 110, "    "


def text_summary(context: Run) -> str:
    """The summary: the verdict, the counts, and the worst records with their tokens in context."""
    found = context.verification
    lines = [
        f"Verdict: {context.verdict.upper()}"
        f" ({len(found.flagged)} flagged; an honest run shows as much with {context.run_p_value})",
        *([verdict_meaning(context)] if context.verdict == "inconclusive" else []),
        *_unverifiable_lines(context),
        *([f"Note: {context.retokenised}."] if context.retokenised else []),
        *weakness(context.policy.made_for.scheme, found.charged_bits_per_token),
        "",
        f"  records        {found.records}",
        *_drawn_lines(context),
        f"  tokens         {found.tokens}",
        f"  exact match    {100 * found.exact_match_rate:.2f}%",
        f"  safe           {found.count(Verdict.SAFE)}",
        f"  suspicious     {found.count(Verdict.SUSPICIOUS)}",
        f"  dangerous      {found.count(Verdict.DANGEROUS)}",
        f"  with outliers  {found.outlying} records (in traffic like the calibration's at most"
        f" {found.honest_outlying:.2g} on average)",
        f"  early stops    {found.early_stops}"
        + (f", {found.unanswered} of them before the first token" if found.unanswered else ""),
        *_outside_grammar_lines(context),
        *_forced_lines(context),
        *_unsteady_lines(context),
        *_exact_lines(context),
        f"  speed          {found.tokens / found.total_seconds:.0f} tokens/s on {context.device} in {context.dtype}"
        f" ({duration_text(found.timing.forward)} forward, {duration_text(found.timing.score)} scoring)",
        *_worker_lines(context),
        *_replica_lines(context),
        *_adapter_lines(context),
    ]
    lines += ["", *exposure_lines(context)]
    flagged = len(found.flagged)
    count, title = flagged, "Flagged records, worst first:"
    if not flagged and found.alarm:
        count, title = SHOWN_RECORDS, "No record is flagged by itself. Together they are too implausible, such as:"
    elif not flagged:
        count, title = 1, "Nothing is flagged. The least plausible record:"
    shown = found.summary.shown[: min(SHOWN_RECORDS, count)]
    lines += ["", title]
    for record in shown:
        lines += _record_lines(context, record)
    if flagged > len(shown):
        lines.append(f"\n  ... and {flagged - len(shown)} more flagged (--json names all)")
    return "\n".join(lines)


def exposure_lines(context: Run) -> list[str]:
    """The bandwidth bounds, the rates behind them, what is no bound, and the assumptions, each with its meaning."""
    shown = figures(context)
    lines = [f"What could have been hidden, bits a token {'audited':>14}  {shown.whose}"]
    for bound in shown.bounds:
        lines += [f"  {bound.name:<38} {bound.audited:>16}  {bound.limit}", *_wrapped(bound.meaning)]
    lines += ["", f"{'Share of tokens':<40} {'audited':>16}  {shown.whose}"]
    for rate in shown.rates:
        lines += [f"  {rate.name:<38} {rate.value:>16}  {rate.limits}", *_wrapped(rate.meaning)]
    lines += ["", "Code lengths, bits a token: no bounds"]
    for charge in shown.charges:
        lines += [f"  {charge.name:<38} {charge.value}", *_wrapped(charge.meaning)]
    lines += ["", "Assumptions", *(line for said in shown.assumptions for line in _wrapped(said))]
    return lines


def _wrapped(sentence: str) -> list[str]:
    """A sentence as indented lines."""
    return textwrap.wrap(sentence, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _drawn_lines(context: Run) -> list[str]:
    """The share that was drawn; empty if all records were audited."""
    given = context.given
    if given.design is None:
        return []
    share = given.tokens / given.audited.tokens
    return [
        f"  drawn          by {given.design.by}: {len(given.indices):,} of {given.audited.records:,} records,"
        f" {100 * share:.3g}% of the output tokens (audit rate {given.design.rate:g})"
    ]


def _outside_grammar_lines(context: Run) -> list[str]:
    """The tokens outside their requests' grammars, which are dangerous ones; empty if there are none."""
    count = context.verification.outside_grammar
    return [f"  outside        {count} of the dangerous tokens, excluded by their requests' grammars"] if count else []


def _forced_lines(context: Run) -> list[str]:
    """The tokens that the sidecar put in to end reasoning at its budget; empty if there are none."""
    count = context.verification.forced
    said = "of the tokens, put in by the sidecar to end reasoning; checked against its rule, not replayed"
    return [f"  forced         {count} {said}"] if count else []


def _unsteady_lines(context: Run) -> list[str]:
    """The unsteady positions, which are charged and are no evidence; empty if there are none."""
    count = context.verification.unsteady_positions
    said = "where rounding errors alone move the logits so far; charged, and no evidence"
    return [f"  unsteady       {count} positions {said}"] if count else []


def _exact_lines(context: Run) -> list[str]:
    """Open positions of exact replay, by cause."""
    found = context.verification
    if not context.policy.exact:
        return []
    return [
        f"  ties           {found.tied_positions} positions",
        f"  unresolved     {found.unresolved_positions} positions, {found.unresolved_bits_per_token:.4f} bits a token",
    ]


def _unverifiable_lines(context: Run) -> list[str]:
    """The unverifiable records, listed first."""
    records = context.verification.unverifiable
    if not records:
        return []
    lines = [f"NOT VERIFIED: {len(records)} records have no verdict; they are charged as if anything were in them:"]
    lines += [
        f"  record {context.given.indices[record.place]} ({context.given.place(record.place).short}):"
        f" {record.tokens} tokens; {record.why}"
        for record in records[:SHOWN_RECORDS]
    ]
    if len(records) > SHOWN_RECORDS:
        lines.append(f"  ... and {len(records) - SHOWN_RECORDS} more (--json names all)")
    return lines


def _replica_lines(context: Run) -> list[str]:
    """The figures of each server that records name; empty if they name none."""
    return [_counts_line("server", name, counts) for name, counts in context.verification.summary.replicas.items()]


def _adapter_lines(context: Run) -> list[str]:
    """The figures of the adapters with the most mismatches among those that records name; empty if they name none."""
    found = context.verification.summary.adapters
    worst = sorted(found.items(), key=lambda one: one[1].mismatches / max(one[1].tokens, 1), reverse=True)
    lines = [
        _counts_line("adapter", f"{name} ({digest.removeprefix(DIGEST_PREFIX)[:8]})", counts)
        for (name, digest), counts in worst[:SHOWN_ADAPTERS]
    ]
    if len(found) > SHOWN_ADAPTERS:
        more = len(found) - SHOWN_ADAPTERS
        lines.append(f"                 ... and {more} adapters that match as well or better (--json names all)")
    return lines


def _counts_line(kind: str, name: str, counts: RecordCounts) -> str:
    return (
        f"  {kind:<14} {printable(name)}: {counts.records} records, {counts.tokens} tokens,"
        f" exact match {100 * (1 - counts.mismatches / max(counts.tokens, 1)):.2f}%, dangerous {counts.dangerous},"
        f" flagged {counts.flagged}"
    )


def _worker_lines(context: Run) -> list[str]:
    if context.workers == 1 and not context.deaths:
        return []
    died = f"; {context.deaths} died, their records were replayed again" if context.deaths else ""
    return [f"  workers        {context.workers}{died}"]


def _record_lines(context: Run, shown: ShownRecord) -> list[str]:
    record = shown.verdict
    lines = [
        "",
        f"  record {context.given.indices[record.index]} ({context.given.place(record.index).short}):"
        f" {record.evidence.tokens} tokens,"
        f" {record.evidence.outliers} outliers, {bound_text(record.p_value)}",
    ]
    lines += [f"    {reason}" for reason in record.reasons]
    margins = record.tokens.margin
    for at in np.argsort(-margins, kind="stable")[:SHOWN_TOKENS]:
        if record.tokens.verdict[at] != Verdict.SAFE:
            lines.append(f"    {_in_context(context, shown.output_token_ids, int(at))}  {_scores(record, int(at))}")
    return lines


def _in_context(context: Run, output: list[int], at: int) -> str:
    before = "".join(context.token_text(t) for t in output[max(0, at - CONTEXT_BEFORE) : at])
    after = "".join(context.token_text(t) for t in output[at + 1 : at + 1 + CONTEXT_AFTER])
    return f"{before}[[{context.token_text(output[at])}]]{after}"


def _scores(record: RecordVerdict, at: int) -> str:
    tokens = record.tokens
    verdict = Verdict(int(tokens.verdict[at])).name.lower()
    if tokens.outside_grammar[at]:
        return f"({verdict}: outside the grammar, position {at})"
    margin = f"{tokens.margin[at]:.2f} logits below" if np.isfinite(tokens.margin[at]) else "outside the support"
    return f"({verdict}: {margin}, rank {tokens.logit_rank[at]}, position {at})"
