"""Exactness of replay under variations of the server: answers of one server are recorded, and replayed on another.

For each variation: the share of equal tokens, ties, the largest finite margin, tokens outside the support, and the
information left to an attacker.

    python -m benchmarks.exact_replay.server_variations --vllm-python PYTHON --model DIR --cache FOLDER TRAFFIC...

Prompts, seeds and sampling are those of the traffic files; the answers are drawn anew. Each kind of serving side is
recorded once and kept in --cache, so that an interrupted run can continue.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from benchmarks.recording.vllm_answers import AT_ONCE, answered
from benchmarks.recording.vllm_server import settings_here, vllm_server
from weightwarden.cli.options.replayer import identity_of
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW, RANK_LIMIT
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.processor import this_processor
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.scoring.token_verdicts import judge_tokens

FLOAT32_HEAD = ("--hf-overrides", '{"head_dtype":"float32"}')
LONG_PROMPT, LONG_RECORDS = 1200, 3
"""Tokens of a long prompt, and number of these records."""


@dataclass(frozen=True)
class Side:
    """Start settings of one of the two servers, besides the common ones."""

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Variation:
    """A serving and a replaying side, the number of concurrent requests of each, and the length of prompts."""

    name: str
    serving: str = "compiled"
    replaying: str = "compiled"
    replay_concurrency: int = 16
    long_prompts: bool = False


SIDES = {
    "compiled": Side(),
    "eager": Side(("--enforce-eager",)),
    "no prefix caching": Side(("--no-enable-prefix-caching",)),
    "two threads": Side(environment={"VLLM_CPU_OMP_THREADS_BIND": "0-1"}),
    "float32 head": Side(FLOAT32_HEAD),
}
VARIATIONS = (
    Variation("same settings"),
    Variation("one request at a time", replay_concurrency=1),
    Variation("long prompts", long_prompts=True),
    Variation("long prompts, one request at a time", replay_concurrency=1, long_prompts=True),
    Variation("replayed without prefix caching", replaying="no prefix caching"),
    Variation("replayed on two threads", replaying="two threads"),
    Variation("served eager, replayed compiled", serving="eager"),
    Variation("served compiled, replayed eager", replaying="eager"),
    Variation("both eager", serving="eager", replaying="eager"),
    Variation("float32 head on both", serving="float32 head", replaying="float32 head"),
    Variation("float32 head on the replay only", replaying="float32 head"),
)


@click.command()
@click.argument("traffic", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--cache", required=True, type=click.Path(path_type=Path), help="Folder for recorded answers and logs.")
@click.option("--records", default=10, show_default=True, help="Records of each traffic file.")
@click.option("--variation", "names", multiple=True, metavar="NAME", help="Only this one; may be given again.")
def main(
    traffic: tuple[Path, ...],
    vllm_python: Path,
    model_name: str | None,
    cache: Path,
    records: int,
    names: tuple[str, ...],
) -> None:
    identity = identity_of(model_name)
    requests = [placed.record for path in traffic for placed in list(read_traffic(path))[:records]]
    cache.mkdir(parents=True, exist_ok=True)
    chosen = [v for v in VARIATIONS if not names or v.name in names]
    for side in sorted({v.serving for v in chosen}):
        if not all(_path(cache, side, long).exists() for long in (False, True)):
            with _server(vllm_python, identity, cache, side) as client:
                for long in (False, True):
                    answers = _answered(client, prolonged(requests) if long else requests, identity)
                    text = "".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in answers)
                    _path(cache, side, long).write_text(text, encoding="utf-8")
    print(f"{this_processor(os.environ)}, {settings_here().dtype}")
    print(f"{'':<34} {'tokens':>6} {'equal':>8} {'ties':>5} {'largest margin':>14} {'outside':>7} {'of log2 V':>9}")
    for replaying in SIDES:
        wanted = [v for v in chosen if v.replaying == replaying]
        if wanted:
            with _server(vllm_python, identity, cache, replaying) as client:
                for variation in wanted:
                    answers = [p.record for p in read_traffic(_path(cache, variation.serving, variation.long_prompts))]
                    print(_row(variation, client, identity, answers), flush=True)


def _server(python: Path, identity: ModelIdentity, cache: Path, name: str) -> AbstractContextManager[VllmClient]:
    side = SIDES[name]
    log = cache / f"{name.replace(' ', '-')}.log"
    return vllm_server(python, identity.path, log, ("--max-logprobs", "1024", *side.arguments), side.environment)


def _path(cache: Path, side: str, long: bool) -> Path:
    return cache / f"{side.replace(' ', '-')}{'-long' if long else ''}.jsonl"


def prolonged(requests: Sequence[Record]) -> list[Record]:
    """A few requests whose prompts are the prompts and answers of many, one after the other."""
    everything = [token for r in requests for token in (*r.prompt_token_ids, *r.output_token_ids)]
    return [
        r.model_copy(update={"prompt_token_ids": everything[7 * i : 7 * i + LONG_PROMPT]})
        for i, r in enumerate(requests[-LONG_RECORDS:])
    ]


def _answered(client: VllmClient, requests: Sequence[Record], identity: ModelIdentity) -> list[Record]:
    """The requests with the server's own answers, drawn several at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda request: answered(client, request, identity.eos_ids), requests))


def _row(variation: Variation, client: VllmClient, identity: ModelIdentity, records: Sequence[Record]) -> str:
    replayer = VllmReplayer(
        client,
        identity,
        load_tokenizer(identity),
        dtype=settings_here().dtype,
        redraw=True,
        concurrency=variation.replay_concurrency,
    )
    scored = [score(p.table, EXACT_TOLERANCE, 0) for p in Replay(replayer, EXACT_WINDOW).tables(records)]
    margins = np.concatenate([s.margin_n for s in scored])
    bits = [judge_tokens(s, EXACT_TOLERANCE.margin, RANK_LIMIT, identity.vocabulary).charged_bits_n for s in scored]
    tokens, safe = len(margins), margins <= EXACT_TOLERANCE.margin
    ties = sum(int((s.admissible_n - s.unseen_n > 1).sum()) for s in scored)
    largest = margins[np.isfinite(margins)].max()
    share = 100 * float(np.concatenate(bits).mean()) / np.log2(identity.vocabulary)
    return (
        f"{variation.name:<34} {tokens:>6} {100 * safe.mean():>7.2f}% {ties:>5} {largest:>14.4f}"
        f" {int(np.isinf(margins).sum()):>7} {share:>8.3f}%"
    )


if __name__ == "__main__":
    main()
