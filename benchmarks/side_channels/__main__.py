"""Side channels through a real sidecar: all that a server can modulate beside its tokens.

    python -m benchmarks.side_channels [--out FOLDER] [--tokens 400] [--answers 96]

An attacker's server hides symbols in white space and fields of what it sends, in pauses between tokens (short and long,
or whole ticks), in the order of several streams, in the start of an answer, in retries and failures, in requests of
others that find no room, and in the readiness. A client behind `sidecar run` decodes what
reaches it: without control of the moments of release, with `--release-tick`, and with `--release-pace`.
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.results.file import Results
from benchmarks.results.tables.side_channels import SIDE_CHANNELS, SideChannelRow
from benchmarks.side_channels import each_answer, each_token, readiness, stalled_room, stream_order


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for side-channels.json and .md.")
@click.option(
    "--tokens", type=click.IntRange(each_token.PER_ANSWER), default=400, show_default=True, help="Of each channel."
)
@click.option("--answers", type=click.IntRange(1), default=96, show_default=True, help="Of each channel of answers.")
@click.option("--seed", default=0, show_default=True)
def main(out: Path | None, tokens: int, answers: int, seed: int) -> None:
    rows: list[SideChannelRow] = []

    def add(row: SideChannelRow) -> None:
        rows.append(row)
        click.echo(SIDE_CHANNELS.line(row))

    for at, channel in enumerate(each_token.CHANNELS):
        for control in channel.controls:
            add(each_token.measured(channel, control, tokens, np.random.default_rng([seed, at])))
    for control in stream_order.CONTROLS:
        add(stream_order.measured(control, tokens // stream_order.STREAMS, np.random.default_rng([seed, 100])))
    for at, kind in enumerate(each_answer.CHANNELS):
        for control in each_answer.CONTROLS:
            add(each_answer.measured(kind, control, answers, np.random.default_rng([seed, 200 + at])))
    for control in each_answer.CONTROLS:
        add(stalled_room.measured(control, answers // 4, np.random.default_rng([seed, 300])))
        add(readiness.measured(control, answers // 2, np.random.default_rng([seed, 400])))
    if out is not None:
        settings = {"tokens": tokens, "answers": answers, "seed": seed}
        SIDE_CHANNELS.write(out, "side-channels", Results[SideChannelRow].measured(rows, settings))


if __name__ == "__main__":
    main()
