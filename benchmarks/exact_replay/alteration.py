"""Detection of one altered token: by exact replay, and by independent replay.

Each trial takes a random record and a random position of it, and puts the second-best token there: the least
conspicuous lie, one bit. The tokens after it are unchanged. Both replays judge the same altered records, and the honest
ones beside them.

    python -m benchmarks.exact_replay.alteration --exact-policy exact.toml --replay-url URL --model DIR TRAFFIC...
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.repository import BUNDLED_POLICY
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.verifier import Verifier


@dataclass(frozen=True)
class Alteration:
    """One trial: the record, the position, the token there, and its replacement."""

    record: int
    position: int
    was: int
    becomes: int


@click.command()
@click.argument("traffic", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--exact-policy", "exact_path", required=True, type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policy_path",
    default=BUNDLED_POLICY,
    type=click.Path(path_type=Path),
    show_default=True,
)
@click.option("--replay-url", required=True)
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--trials", default=200, show_default=True, help="Altered records for each file.")
@click.option("--seed", default=0, show_default=True)
def main(
    traffic: tuple[Path, ...],
    exact_path: Path,
    policy_path: Path,
    replay_url: str,
    model_name: str | None,
    trials: int,
    seed: int,
) -> None:
    exact_policy, policy = read_policy(exact_path), read_policy(policy_path)
    independent = load_replayer(ReplayOptions(model_name=model_name, dtype=policy.made_for.dtype))
    options = ReplayOptions(model_name=model_name, implementation="vllm", replay_urls=(replay_url,))
    exact = load_replayer(options, exact_policy, exact=True)
    print(f"seed {seed}; {platform.processor() or platform.machine()}, {trials} trials a file, vLLM at {replay_url}")
    print(f"{'altered records flagged':<40} {'exact':>12} {'independent':>12}")
    for path in traffic:
        records = [placed.record for placed in read_traffic(path)]
        alterations = choose(independent, records, trials, np.random.default_rng(seed))
        altered = [apply(records[a.record], a) for a in alterations]
        found = [Verifier(r, p).judge(altered) for r, p in ((exact, exact_policy), (independent, policy))]
        counts = "".join(f" {sum(verdict.flagged for verdict in f.records):5d} / {len(altered):4d}" for f in found)
        print(f"{path.name:<40}{counts}", flush=True)
        for a, verdict in zip(alterations, found[0].records, strict=True):
            if not verdict.flagged:
                print(f"  not flagged: {missed(a, found[0], verdict.index)}", flush=True)


def choose(replayer: Replayer, records: Sequence[Record], trials: int, rng: np.random.Generator) -> list[Alteration]:
    """Random positions of random records, each with its second choice. Positions with no other choice are redrawn."""
    found: dict[tuple[int, int], int | None] = {}
    alterations: list[Alteration] = []
    while len(alterations) < trials:
        tokens = np.array([len(r.output_token_ids) for r in records])
        record = rng.integers(0, len(records), trials - len(alterations))
        places = [(int(r), int(rng.integers(tokens[r]))) for r in record]
        found |= second_choices(replayer, records, [place for place in places if place not in found])
        for r, position in places:
            becomes = found[r, position]
            if becomes is not None:
                alterations.append(Alteration(r, position, records[r].output_token_ids[position], becomes))
    return alterations


def second_choices(
    replayer: Replayer, records: Sequence[Record], places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int | None]:
    """The second-best token at each (record, position), by enumeration; None where the support has one token."""
    seconds: dict[tuple[int, int], int | None] = {}
    for name in sorted({records[r].scheme_name for r, _ in places}):
        indices = sorted({r for r, _ in places if records[r].scheme_name == name})
        group = [records[r] for r in indices]
        builder = DrawBuilder(name, replayer.identity, replayer.tokenizer)
        for chunk in (c for batch in replayer.batches(group) for c in replayer.replay(batch, group)):
            draws = builder.draws(chunk.rows, chunk.pieces, group)
            for piece in chunk.pieces:
                for t in range(piece.count):
                    place = indices[piece.record], piece.start + t
                    if place in places:
                        seconds[place] = _second(chunk.rows.row(piece.row + t), draws, piece.row + t)
    return seconds


def _second(logits_v: NDArray[np.float32], draws: Draws, row: int) -> int | None:
    """The best supported token that is not the claimed one."""
    filters, values = draws.filters, logits_v.astype(np.float64)
    order = np.sort(values)[::-1]
    kept = values >= order[min(int(filters.top_k_n[row]), len(values)) - 1]
    weights = np.where(kept, np.exp((values - order[0]) / filters.temperature_n[row]), 0.0)
    ascending = np.sort(weights)
    above = 1.0 - np.cumsum(ascending)[np.searchsorted(ascending, weights, side="right") - 1] / weights.sum()
    kept &= above < filters.top_p_n[row]
    kept[draws.claimed_n[row]] = False
    scores = values + draws.perturbation(np.arange(len(values))[None, :], np.array([row]))[0]
    best = int(np.where(kept, scores, -np.inf).argmax())
    return best if kept[best] else None


def apply(record: Record, alteration: Alteration) -> Record:
    """The record that would have been logged if the server had emitted the second choice."""
    output = list(record.output_token_ids)
    output[alteration.position] = alteration.becomes
    return record.model_copy(update={"output_token_ids": output})


def missed(alteration: Alteration, found: Judgement, index: int) -> str:
    """Position of a trial that passed, and the number of open tokens there."""
    tokens, at = found.records[index].tokens, alteration.position
    return (
        f"record {alteration.record}, position {at}, {alteration.was} -> {alteration.becomes}: margin"
        f" {tokens.margin[at]:.3g}, {tokens.admissible[at]} admissible, {tokens.unseen[at]} of them unseen"
    )


if __name__ == "__main__":
    main()
