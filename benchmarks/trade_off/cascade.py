"""Cost and losses of a cascade: replay in bfloat16 first, and repeat only the unclear positions in float32.

    python -m benchmarks.trade_off.cascade --out results SERIES.jsonl...

A position is *clear* when the claimed token is the bfloat16 replay's choice and no rival that may be in the support is
within a width of it. The float32 replay then needs the records with an unclear position, each up to the last of them
(teacher forcing computes every position before it). The cascade misses rivals that float32 would have admitted at a
clear position: information that an attacker has and that is not charged. Time is that of float32 alone = 1, from the
two precisions' forward passes, measured here in turns.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.results.file import Results
from benchmarks.results.tables.cascade import CASCADE, CascadeRow
from benchmarks.throughput.replay import timed
from benchmarks.trade_off.replayed import WINDOW, Replayed, replayed
from benchmarks.trade_off.scored import Scored, Slack
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.replay.replay import PlacedTable, Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

WIDTHS = (0.1, 0.2, 0.3, 0.5, 1.0)
"""Least distance in logits of the nearest rival at a clear position."""
WIDE = Slack(0.3, 0.03)
"""Slack at the cuts in the bfloat16 replay: a rival that may be in the support counts as one."""
FLOAT32 = Slack(0.15, 0.006)
DELTA = 0.15
"""Threshold of the float32 replay, logits, about what calibration chooses."""
TIMED_RECORDS, ROUNDS = 16, 3
PRECISIONS = ("float32", "bfloat16")


@click.command(help=__doc__)
@click.argument("series", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder with tables of `benchmarks.trade_off`."
)
def main(series: tuple[Path, ...], out: Path) -> None:
    identity = identify_model(ensure_embedded_model())
    rows: list[CascadeRow] = []
    facts: dict[str, float] = {}
    for path in series:
        records = [placed.record for placed in read_traffic(path)]
        full, half = (_replayed(path, records, identity, out, precision) for precision in PRECISIONS)
        cost = _relative_cost(records, identity)
        facts[f"bfloat16_time_of_float32: {path.stem}"] = cost
        rows += [_cascade(path.stem, full, half, width, cost, identity) for width in WIDTHS]
    settings = {"threshold_logits": DELTA, "timed_records": TIMED_RECORDS, "timed_rounds": ROUNDS}
    CASCADE.write(out, "cascade", Results[CascadeRow].measured(rows, settings, facts=facts))
    click.echo(CASCADE.markdown(rows))


def _replayed(path: Path, records: Sequence[Record], identity: ModelIdentity, out: Path, precision: str) -> Replayed:
    tokens = sum(len(record.output_token_ids) for record in records)
    cache = out / "tables" / f"{file_sha256(path).hex()[:12]}-{precision}"
    with progress_bar(tokens, f"Replaying {path.stem} in {precision}") as progress:
        return replayed(records, partial(TransformersReplayer.load, identity, dtype=precision), cache, progress)


def _relative_cost(records: Sequence[Record], identity: ModelIdentity) -> float:
    """Time of a bfloat16 replay of some records, that of float32 = 1; medians of rounds in turns."""
    replays = [Replay(TransformersReplayer.load(identity, dtype=precision), WINDOW) for precision in PRECISIONS]

    def run(replay: Replay) -> None:
        for _ in replay.tables(records[:TIMED_RECORDS]):
            pass

    times = np.array([[timed(partial(run, replay)) for replay in replays] for _ in range(ROUNDS)])
    full, half = np.median(times, axis=0)
    return float(half / full)


def _cascade(
    series: str, full: Replayed, half: Replayed, width: float, cost: float, identity: ModelIdentity
) -> CascadeRow:
    """Results of a width on a series."""
    first = Scored(half, WIDE, identity.vocabulary)
    second = Scored(full, FLOAT32, identity.vocabulary)
    clear = {
        key: bool(one)
        for placed, (_, scores) in zip(half.tables, first.parts, strict=True)
        for key, one in zip(_keys(placed), scores.exact_n & ~(scores.rival_margin_nk <= width).any(axis=1), strict=True)
    }
    last: dict[int, int] = {}
    for (record, position), one in clear.items():
        if not one:
            last[record] = max(last.get(record, 0), position)
    missed = missed_bits = all_bits = beyond = 0.0
    for placed, (_, scores) in zip(full.tables, second.parts, strict=True):
        bits_n = np.log2(1 + (scores.rival_margin_nk <= DELTA).sum(axis=1))
        clear_n = np.array([clear[key] for key in _keys(placed)])
        missed += float((clear_n & (bits_n > 0)).sum())
        missed_bits += float(bits_n[clear_n].sum())
        all_bits += float(bits_n.sum())
        beyond += float((clear_n & (scores.margin_n > DELTA)).sum())
    lengths = np.array([len(r.prompt_token_ids) + len(r.output_token_ids) - 1 for r in full.records], np.float64)
    repeated = np.array(
        [len(r.prompt_token_ids) + last[i] if i in last else 0 for i, r in enumerate(full.records)], np.float64
    )
    return CascadeRow(
        series=series,
        width_logits=width,
        unclear_positions_share=1 - sum(clear.values()) / len(clear),
        unclear_records_share=len(last) / len(full.records),
        repeated_tokens_share=float(repeated.sum() / lengths.sum()),
        missed_bits_share=missed_bits / all_bits,
        missed_positions_share=missed / len(clear),
        clear_beyond_threshold_share=beyond / len(clear),
        time_of_float32=cost + float(repeated.sum() / lengths.sum()),
    )


def _keys(placed: PlacedTable) -> list[tuple[int, int]]:
    """(record, position) of each row."""
    return list(zip(placed.record_n.tolist(), placed.position_n.tolist(), strict=True))


if __name__ == "__main__":
    main()
