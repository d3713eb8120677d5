"""Side channels through a real sidecar: spelling of the text, timing of tokens, order of streams.

    python -m benchmarks.side_channels [--out FOLDER] [--tokens 400]

An attacker's server hides symbols in white space of the text that it sends, in pauses between tokens (short and long,
or whole ticks), and in the order of several streams. A client behind `sidecar run` decodes the text, times and order
that reach it, without ticks and with a tick.
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.results.file import Results
from benchmarks.results.tables.side_channels import SIDE_CHANNELS, SideChannelRow
from benchmarks.side_channels import each_token, stream_order


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for side-channels.json and .md.")
@click.option(
    "--tokens", type=click.IntRange(each_token.PER_ANSWER), default=400, show_default=True, help="Of each channel."
)
@click.option("--seed", default=0, show_default=True)
def main(out: Path | None, tokens: int, seed: int) -> None:
    rows = [
        each_token.measured(channel, tick, tokens, np.random.default_rng([seed, at]))
        for at, channel in enumerate(each_token.CHANNELS)
        for tick in (None, each_token.TICK_MS)
    ]
    rows += [
        stream_order.measured(tick, tokens // stream_order.STREAMS, np.random.default_rng([seed, len(rows)]))
        for tick in (None, stream_order.TICK_MS)
    ]
    click.echo(SIDE_CHANNELS.markdown(rows))
    if out is not None:
        results = Results[SideChannelRow].measured(rows, {"tokens": tokens, "seed": seed})
        SIDE_CHANNELS.write(out, "side-channels", results)


if __name__ == "__main__":
    main()
