"""Throughput of exact replay, beside the same server's bare prefill of the same sequences and the transformers replay.

The bare prefill is the minimum for any replay on that server: one token after each transcript, no logits sent. All
three run in turns on small groups of records, several rounds each; sums over groups of the median times are compared.
Tokens are output tokens.

    python -m benchmarks.throughput.exact --exact-policy exact.toml --replay-url URL --model DIR TRAFFIC...
"""

import platform
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.repository import BUNDLED_POLICY
from benchmarks.throughput.replay import timed
from weightwarden.cli.options.replayer import load_replayer, vllm_client
from weightwarden.cli.options.shared import ReplayOptions, ServerOptions
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.verification.verifier import Verifier


@click.command()
@click.argument("traffic", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--exact-policy", "exact_path", required=True, type=click.Path(path_type=Path))
@click.option("--policy", "policy_path", default=BUNDLED_POLICY, type=click.Path(path_type=Path))
@click.option("--replay-url", required=True)
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--group", default=16, show_default=True, help="Records a turn.")
@click.option("--groups", default=1, show_default=True, help="Turns' worth of records of each file.")
@click.option("--rounds", default=3, show_default=True)
def main(
    traffic: tuple[Path, ...],
    exact_path: Path,
    policy_path: Path,
    replay_url: str,
    model_name: str | None,
    group: int,
    groups: int,
    rounds: int,
) -> None:
    exact_policy, policy = read_policy(exact_path), read_policy(policy_path)
    options = ReplayOptions(model_name=model_name, implementation="vllm", replay_urls=(replay_url,))
    exact = Verifier(load_replayer(options, exact_policy, exact=True), exact_policy)
    independent = Verifier(load_replayer(ReplayOptions(model_name=model_name, dtype=policy.made_for.dtype)), policy)
    client = vllm_client(ServerOptions(replay_urls=(replay_url,)))
    client.served_model()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads here; vLLM at {replay_url}")
    print(
        f"{'output tokens/s':<38} {'tokens':>6} {'bare':>6} {'exact':>6} {'ratio':>6} {'transformers':>12} {'ratio':>6}"
    )
    for path in traffic:
        records = [placed.record for placed in read_traffic(path)][: group * groups]
        total = np.zeros(3)
        for start in range(0, len(records), group):
            some = records[start : start + group]
            jobs: list[Callable[[], object]] = [
                partial(bare_prefill, client, some),
                partial(exact.verify, some),
                partial(independent.verify, some),
            ]
            times = np.zeros((rounds, len(jobs)))
            for i in range(rounds):
                for which in range(len(jobs)) if i % 2 == 0 else reversed(range(len(jobs))):
                    times[i, which] = timed(jobs[which])
            total += np.median(times, axis=0)
        tokens = sum(len(record.output_token_ids) for record in records)
        bare, ours, here = total
        print(
            f"{path.name:<38} {tokens:>6} {tokens / bare:>6.1f} {tokens / ours:>6.1f} {bare / ours:>6.3f}"
            f" {tokens / here:>12.1f} {here / ours:>6.3f}",
            flush=True,
        )


def bare_prefill(client: VllmClient, records: Sequence[Record]) -> None:
    """The server's forward pass over the transcripts, sixteen at a time, without cached prefixes of earlier ones."""

    def one(record: Record) -> None:
        transcript = [*record.prompt_token_ids, *record.output_token_ids]
        client.draw(transcript, 1, {"temperature": 0, "cache_salt": uuid.uuid4().hex})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, records))


if __name__ == "__main__":
    main()
