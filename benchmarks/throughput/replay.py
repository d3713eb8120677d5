"""Throughput of replay and scoring, over a bare forward pass of the same records, in one process.

The bare pass is the same transformer over the same batches with the output head on output positions only, and no work
on the logits: the minimum for any replayer. Both run in turns on small groups of records, several rounds each, and the
sums over groups of the median times are compared: a shared machine changes speed by the minute. A second baseline, the
model's own forward with logits at every position, is that of a plain script.

    python -m benchmarks.throughput.replay [TRAFFIC...]
"""

import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from benchmarks.peak_memory import peak_bytes
from benchmarks.repository import BUNDLED_POLICY, DATA
from weightwarden.cli.options.replayer import identity_of
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

GROUP = 24
"""Number of records a turn."""
TRAFFIC = sorted(DATA.glob("smollm2-vllm0.32-*.jsonl"))


@click.command()
@click.argument("traffic", nargs=-1, type=click.Path(path_type=Path))
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), default=BUNDLED_POLICY)
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--device", default=None)
@click.option("--rounds", default=3, show_default=True)
def main(traffic: tuple[Path, ...], policy_path: Path, model_name: str | None, device: str | None, rounds: int) -> None:
    policy = read_policy(policy_path)
    replayer = TransformersReplayer.load(identity_of(model_name), dtype=policy.made_for.dtype, device=device)
    verifier = Verifier(replayer, policy)
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__},"
        f" transformers {transformers.__version__}, {replayer.dtype} on {replayer.device}"
    )
    print(f"{'tokens/s':<40} {'tokens':>7} {'bare':>7} {'ours':>7} {'ratio':>6} {'plain':>7} {'ratio':>6}")
    totals = np.zeros(3)
    for path in traffic or TRAFFIC:
        records = [placed.record for placed in read_traffic(path)]
        tokens = sum(len(record.output_token_ids) for record in records)
        seconds = measure(replayer, verifier, records, rounds)
        totals += seconds
        print(row(path.name, tokens, seconds), flush=True)
    print(row("all", None, totals))
    print(f"peak memory {peak_bytes() / 2**30:.2f} GiB, the model included")


def measure(
    replayer: TransformersReplayer, verifier: Verifier, records: Sequence[Record], rounds: int
) -> NDArray[np.float64]:
    """Seconds of the bare pass, of verification, and of the plain forward (once a group), over all records."""
    total = np.zeros(3)
    for start in range(0, len(records), GROUP):
        group = records[start : start + GROUP]
        bare_forward(replayer, group[:4])  # warm up
        times = np.zeros((rounds, 2))
        for i in range(rounds):
            jobs: list[tuple[int, Callable[[], object]]] = [
                (0, partial(bare_forward, replayer, group)),
                (1, partial(verifier.verify, group)),
            ]
            for which, job in jobs if i % 2 == 0 else reversed(jobs):
                times[i, which] = timed(job)
        total += [*np.median(times, axis=0), timed(partial(plain_forward, replayer, group))]
    return total


def row(name: str, tokens: int | None, seconds: NDArray[np.float64]) -> str:
    """One line of the table."""
    bare, ours, plain = seconds

    def speed(value: float) -> str:
        return f"{tokens / value:7.0f}" if tokens is not None else " " * 7

    count = f"{tokens:7d}" if tokens is not None else " " * 7
    return f"{name:<40} {count} {speed(bare)} {speed(ours)} {bare / ours:6.3f} {speed(plain)} {plain / ours:6.3f}"


def bare_forward(replayer: TransformersReplayer, records: Sequence[Record]) -> None:
    """The transformer over the same batches, and the head over output positions; logits are discarded."""
    for batch in replayer.batches(records):
        hidden = replayer.hidden_states(batch, records)
        for start in range(0, len(hidden), replayer.chunk_rows):
            replayer.logits(hidden[start : start + replayer.chunk_rows])
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def plain_forward(replayer: TransformersReplayer, records: Sequence[Record]) -> None:
    """The model's own forward over the same batches, with logits at every position."""
    with torch.no_grad():
        for batch in replayer.batches(records):
            replayer.model(input_ids=replayer.padded_ids(batch, records), use_cache=False)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
