"""Savings of a shared system prompt: the same records replayed with and without sharing, in turns.

    python -m benchmarks.throughput.shared_prefix [--records 24] [--rounds 3] [--prefix 128 --prefix 512 --prefix 1024]

The recorded answers, with a system prompt of random tokens before their prompts: the time does not depend on the
tokens. Medians of rounds.
"""

import json
from functools import partial

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.repository import FILTERED
from benchmarks.throughput.replay import timed
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer


@click.command(help=__doc__)
@click.option("--records", type=click.IntRange(2), default=24, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--prefix", "prefixes", multiple=True, type=click.IntRange(1), default=(128, 512, 1024), show_default=True
)
@click.option("--seed", default=0, show_default=True)
def main(records: int, rounds: int, prefixes: tuple[int, ...], seed: int) -> None:
    replayer = TransformersReplayer.load(identify_model(ensure_embedded_model()))
    rng = np.random.default_rng(seed)
    rows = []
    for length in prefixes:
        system = rng.integers(10, replayer.identity.vocabulary, length).tolist()
        traffic = [
            placed.record.model_copy(update={"prompt_token_ids": [*system, *placed.record.prompt_token_ids]})
            for placed in read_traffic(FILTERED)[:records]
        ]
        tokens = sum(len(record.output_token_ids) for record in traffic)
        times = np.array(
            [[timed(partial(_replay, replayer, traffic, on)) for on in (True, False)] for _ in range(rounds)]
        )
        shared, alone = np.median(times, axis=0)
        rows.append(
            {
                "prefix_tokens": length,
                "output_tokens": tokens,
                "shared_tokens_per_second": tokens / shared,
                "alone_tokens_per_second": tokens / alone,
                "ratio": alone / shared,
            }
        )
        click.echo(json.dumps(rows[-1]))
    click.echo(json.dumps({"environment": environment(), "seed": seed, "records": records, "rows": rows}, indent=1))


def _replay(replayer: TransformersReplayer, records: list[Record], share: bool) -> None:
    replayer.shares_prefixes = share
    for batch in replayer.batches(records):
        for _ in replayer.replay(batch, records):
            pass


if __name__ == "__main__":
    main()
