"""The command `verify probe`, which identifies a server's sampling scheme."""

import json
import secrets
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.provider import provider_client
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import (
    CONTEXT_OPTION,
    MODEL_OPTION,
    ProviderOptions,
    ReplayOptions,
    provider_options,
)
from weightwarden.extras import needs_extra
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.text import printable

if TYPE_CHECKING:
    from weightwarden.verifier.probe.conclusion import Conclusion, SchemeFinding
    from weightwarden.verifier.probe.evidence import SchemeMatch
    from weightwarden.verifier.probe.probed_engine import ProbedEngine
    from weightwarden.verifier.probe.queries import ProbeQueries

SHOWN_SCHEMES = 6
FORMAT = "weightwarden-probe/1"


@click.command()
@provider_options(required=True)
@MODEL_OPTION
@CONTEXT_OPTION
@click.option(
    "--device",
    metavar="DEVICE",
    help="PyTorch device of the replay, e.g. cuda:0. Default: cuda if available, else cpu.",
)
@click.option(
    "--prompts",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    metavar="COUNT",
    help="Number of requests of each kind.",
)
@click.option(
    "--tokens",
    type=click.IntRange(4, 512),
    default=24,
    show_default=True,
    metavar="TOKENS",
    help="Tokens of each answer.",
)
@click.option(
    "--engine-version",
    metavar="VERSION",
    help="Version of the server's engine. Default: what the server states at /version, if it does.",
)
@click.option(
    "--write-profile",
    "profile_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="If a scheme is named, write the draft of an engine profile to this file, to be completed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def probe(
    ctx: click.Context,
    /,
    model_name: str | None,
    device: str | None,
    max_model_len: int | None,
    prompts: int,
    tokens: int,
    engine_version: str | None,
    profile_path: Path | None,
    as_json: bool,
    **provider: Any,
) -> None:
    """Send a few seeded requests to the server at --url, and identify its sampling scheme.

    The answers are replayed on a trusted copy of the model (--model) under every known scheme. A scheme is named if it
    yields most of the tokens, and if as many by chance have probability at most 1e-6 over all schemes tried. The result
    also says whether the scheme was compared with the version of the engine, as the server states it.

    Exit code 0: a scheme is named. 1: no known scheme matches. 2: error, e.g. a server that does not answer.
    """
    with needs_extra("vllm"):
        from weightwarden.verifier.probe.conclusion import conclude
        from weightwarden.verifier.probe.probed_engine import ProbedEngine
        from weightwarden.verifier.probe.queries import Interviewer
    check_writable(profile_path)
    options = ProviderOptions(**provider)
    replayer = load_replayer(ReplayOptions(model_name=model_name, device=device, max_model_len=max_model_len))
    ctx.call_on_close(replayer.close)
    seeds = [1 + secrets.randbelow(2**31 - 1) for _ in range(3 * prompts + 2)]
    with closing(provider_client(options)) as client:
        served = client.served_model()
        interview = Interviewer(client=client, tokenizer=replayer.tokenizer, tokens=tokens, seeds=seeds).interview(
            prompts
        )
        conclusion = conclude(replayer, interview)
        engine = None
        if conclusion.named is not None:
            engine = ProbedEngine(scheme=conclusion.named, version=engine_version or client.stated_version())
        about = {
            "url": client.url,
            "served_model": served,
            "model": str(replayer.identity.path),
            "model_digest": replayer.identity.digest,
            "asked_as": None if client.manner is None else client.manner[0].name,
        }
    show = _json if as_json else _text
    click.echo(show(about, interview, conclusion, engine))
    if profile_path is not None and engine is not None:
        write_text(profile_path, engine.profile_draft(), public=True)
        click.echo(f"{profile_path}: the draft of an engine profile; complete it", err=True)
    ctx.exit(exit_codes.CLEAR if conclusion.named is not None else exit_codes.ALARM)


def _text(
    about: Mapping[str, Any], interview: "ProbeQueries", conclusion: "Conclusion", engine: "ProbedEngine | None"
) -> str:
    lines = [f"{about['url']}: {printable(about['served_model'])}, asked as {about['asked_as']}", ""]
    answers = len(interview.greedy) + len(interview.unfiltered) + len(interview.filtered)
    source = "re-tokenised from text" if interview.retokenised else "told by the server"
    lines.append(f"  token ids        {source}; {answers} answers used, {len(interview.left_out)} left out")
    if conclusion.greedy is not None:
        greedy = conclusion.greedy
        lines.append(
            f"  temperature 0    {greedy.matches} of {greedy.tokens} tokens are the largest logit of the model here"
        )
    for title, found in (("Unfiltered", conclusion.unfiltered), ("Filtered", conclusion.filtered)):
        if found is not None:
            lines += ["", *_table(title, found)]
    lines += ["", *(f"Finding: {finding}." for finding in conclusion.findings)]
    if conclusion.named is None:
        return "\n".join([*lines, "Samples by none of the known schemes."])
    best, filtered = conclusion.unfiltered.best, conclusion.filtered
    name = conclusion.named
    if filtered is not None and filtered.scheme not in (None, name):
        name = f"{name} without filters and by {filtered.scheme} with them"
    if best is None:
        return "\n".join([*lines, f"Samples by {name}, with settings of its own.", str(engine)])
    alike = f" ({', '.join(conclusion.unfiltered.alike)} give the same here)" if conclusion.unfiltered.alike else ""
    lines.append(
        f"Samples by {name}{alike}: {best.matches} of {best.tokens} unfiltered tokens, where chance gives"
        f" {best.chance_n.sum():.0f} ({_chance(best)})."
    )
    lines.append(str(engine))
    return "\n".join(lines)


def _table(title: str, found: "SchemeFinding") -> list[str]:
    asked = ", ".join(f"{name} {value:g}" for name, value in found.asked.items())
    lines = [f"{title} ({asked}, {found.evidence[0].tokens} tokens)" if found.evidence else f"{title} ({asked})"]
    lines.append(f"  {'scheme':<20} {'matches':>8} {'by chance':>10}   as many by chance")
    shown = found.evidence[:SHOWN_SCHEMES]
    if found.best is not None and found.best not in shown:
        shown = [found.best, *shown]
    for item in shown:
        mark = "  <-" if item is found.best else ""
        lines.append(
            f"  {item.scheme:<20} {100 * item.rate:7.1f}% {100 * item.chance_rate:9.1f}%   {_chance(item)}{mark}"
        )
    if len(found.evidence) > len(shown):
        lines.append(f"  ... and {len(found.evidence) - len(shown)} more, none better")
    return lines


def _chance(evidence: "SchemeMatch") -> str:
    exponent = evidence.log10_p
    return f"probability 1e{exponent:.0f}" if exponent >= -300 else "probability below 1e-300"


def _json(
    about: Mapping[str, Any], interview: "ProbeQueries", conclusion: "Conclusion", engine: "ProbedEngine | None"
) -> str:
    def plain(item: "SchemeMatch") -> dict[str, Any]:
        return {
            "scheme": item.scheme,
            "sampling": dict(item.sampling),
            "seed": item.seed,
            "matches": item.matches,
            "tokens": item.tokens,
            "expected_by_chance": float(item.chance_n.sum()),
            "log10_p": max(item.log10_p, -300.0),
        }

    def kind(found: "SchemeFinding | None") -> dict[str, Any] | None:
        if found is None:
            return None
        return {
            "asked": dict(found.asked),
            "best": None if found.best is None else plain(found.best),
            "alike": list(found.alike),
            "traced": found.traced,
            "schemes": [plain(item) for item in found.evidence],
            "refused": {refusal.scheme: refusal.why for refusal in found.refusals},
        }

    report = {
        "format": FORMAT,
        "scheme": conclusion.named,
        "engine": None if engine is None else {"name": engine.name, "version": engine.version, "listed": engine.listed},
        **about,
        "retokenised_answers": interview.retokenised,
        "left_out": interview.left_out,
        "greedy": None if conclusion.greedy is None else plain(conclusion.greedy),
        "unfiltered": kind(conclusion.unfiltered),
        "filtered": kind(conclusion.filtered),
        "findings": list(conclusion.findings),
    }
    return json.dumps(report, indent=2, allow_nan=False)
