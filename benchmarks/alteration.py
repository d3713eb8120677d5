"""One altered token: how often does exact replay name the record, and how often does independent replay?

Each trial takes a random record and a random position of it, and puts there the token that stood second: the least
conspicuous lie, one bit. What follows stays as it was. Both replays judge the same altered records, and the honest ones
beside them.

    python -m benchmarks.alteration --exact-policy exact.toml --replay-url URL --model DIR TRAFFIC...
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from cli.options import ReplayOptions
from cli.replayers import load_replayer
from logger.record import Record
from logger.traffic import read_traffic
from verifier.candidate_table import Window
from verifier.policy_file import read_policy
from verifier.replay import Replay, Replayer
from verifier.verification import Verification, Verifier

EVERYTHING_NEAR = Window(margin=20.0, logit_slacks=(1e-5,), mass_slack=1e-5)
"""Logits below the winner among which the second choice is looked for."""


@dataclass(frozen=True)
class Alteration:
    """One trial: which record, where, and what its token was and became."""

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
    default=Path("cli/bundled/policy.toml"),
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
    options = ReplayOptions(model_name=model_name, implementation="vllm", replay_url=replay_url)
    exact = load_replayer(options, exact_policy, exact=True)
    print(f"seed {seed}; {platform.processor() or platform.machine()}, {trials} trials a file, vLLM at {replay_url}")
    print(f"{'altered records flagged':<40} {'exact':>12} {'independent':>12}")
    for path in traffic:
        records = [placed.record for placed in read_traffic(path)]
        alterations = choose(independent, records, trials, np.random.default_rng(seed))
        altered = [apply(records[a.record], a) for a in alterations]
        found = [Verifier(r, p).verify(altered) for r, p in ((exact, exact_policy), (independent, policy))]
        counts = "".join(f" {len(f.flagged):5d} / {len(altered):4d}" for f in found)
        print(f"{path.name:<40}{counts}", flush=True)
        for a, verdict in zip(alterations, found[0].records, strict=True):
            if not verdict.flagged:
                print(f"  not flagged: {missed(a, found[0], verdict.index)}", flush=True)


def choose(replayer: Replayer, records: Sequence[Record], trials: int, rng: np.random.Generator) -> list[Alteration]:
    """Random positions of random records, each with its second choice; positions with no other choice are redrawn."""
    seconds: dict[tuple[int, int], int] = {}
    for placed in Replay(replayer, EVERYTHING_NEAR).tables(records):
        table = placed.table
        others = np.where(table.logit_distance_nk[:, 1:] > 0, table.scores_nk[:, 1:], -np.inf)
        if not others.shape[1]:
            continue
        best = others.argmax(axis=1)
        there = np.isfinite(others[np.arange(len(table)), best])
        for t in np.flatnonzero(there):
            seconds[int(placed.record_n[t]), int(placed.position_n[t])] = int(table.ids_nk[t, 1 + best[t]])
    alterations: list[Alteration] = []
    while len(alterations) < trials:
        record = int(rng.integers(len(records)))
        position = int(rng.integers(len(records[record].output_token_ids)))
        if (record, position) in seconds:
            was = records[record].output_token_ids[position]
            alterations.append(Alteration(record, position, was, seconds[record, position]))
    return alterations


def apply(record: Record, alteration: Alteration) -> Record:
    """The record as it would have been logged, had the server said the second choice."""
    output = list(record.output_token_ids)
    output[alteration.position] = alteration.becomes
    return record.model_copy(update={"output_token_ids": output})


def missed(alteration: Alteration, found: Verification, index: int) -> str:
    """Where a trial passed, and what stood open there."""
    tokens, at = found.records[index].tokens, alteration.position
    return (
        f"record {alteration.record}, position {at}, {alteration.was} -> {alteration.becomes}: margin"
        f" {tokens.margin[at]:.3g}, {tokens.admissible[at]} admissible, {tokens.unseen[at]} of them unseen"
    )


if __name__ == "__main__":
    main()
