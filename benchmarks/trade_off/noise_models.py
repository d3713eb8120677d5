"""Alternative noise models, fitted on one half of honest traffic and tried on the other.

    python -m benchmarks.trade_off.noise_models --out results SERIES.jsonl...

An honest server takes a rival of margin m instead of the replay's choice with probability Phi(-m / (sigma sqrt 2)).
Tried: one sigma for all (the baseline), sigma by context length and by the number of rivals, the margin of another
replay in bfloat16 mixed in, its disagreement as a local estimate of sigma; and a replay with logits rounded to bfloat16
like the server's. The figure is the honest likelihood of the judging half, bits a token: smaller is better, and a gain
is at most what bounds can fall by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_ndtr

from benchmarks.results.file import Results
from benchmarks.results.tables.noise_models import NOISE_MODELS, NoiseModelRow
from benchmarks.trade_off.replayed import WINDOW, Replayed, replayed
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.calibration.traffic import split_halves
from weightwarden.verifier.candidates.table import boundary
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

LOGIT_SLACK, MASS_SLACK = 0.15, 0.006
"""Distance from cuts, logits and probability, below which pairs are left out: they may lie on either side."""
SPLIT_SEED = 0
"""The seed of the split into halves."""
LENGTH = 80.0
"""Tokens of context at which sigma equals the baseline's."""


class RoundedReplayer(TransformersReplayer):
    """A float32 replay that can round its logits to bfloat16."""

    rounded = False

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = super().logits(hidden)
        return logits.bfloat16().float() if self.rounded else logits


@dataclass(frozen=True)
class Pairs:
    """Pairs of the replay's choice and one rival.

    Attributes:
        margin_p: logits by which the rival is below.
        other_p: the same in the other replay.
        taken_p: whether the server took the rival.
        first_p: whether the pair is of the fitting half.
        context_p: number of tokens before it.
        rivals_p: number of rivals at its position.
    """

    margin_p: FloatArray
    other_p: FloatArray
    taken_p: BoolArray
    first_p: BoolArray
    context_p: FloatArray
    rivals_p: FloatArray
    tokens: int


Model = Callable[[FloatArray, Pairs], tuple[FloatArray, FloatArray]]
"""Margin and sigma of each pair, from parameters."""


def _plain(parameters: FloatArray, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    return pairs.margin_p, np.full(len(pairs.margin_p), np.exp(parameters[0]))


def _by_context(parameters: FloatArray, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    return pairs.margin_p, np.exp(parameters[0] + parameters[1] * np.log(pairs.context_p / LENGTH))


def _by_rivals(parameters: FloatArray, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    return pairs.margin_p, np.exp(parameters[0] + parameters[1] * np.log(pairs.rivals_p))


def _mixed(parameters: FloatArray, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    margin = (1 - parameters[1]) * pairs.margin_p + parameters[1] * pairs.other_p
    return margin, np.full(len(margin), np.exp(parameters[0]))


def _by_disagreement(parameters: FloatArray, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    apart = pairs.margin_p - pairs.other_p
    return pairs.margin_p, np.sqrt(np.exp(2 * parameters[0]) + (parameters[1] * apart) ** 2)


MODELS: dict[str, tuple[Model, tuple[float, ...]]] = {
    "one sigma for all": (_plain, (-3.0,)),
    "by context length": (_by_context, (-3.0, 0.0)),
    "by number of rivals": (_by_rivals, (-3.0, 0.0)),
    "mixed with a bfloat16 replay": (_mixed, (-3.0, 0.1)),
    "bfloat16's disagreement as local noise": (_by_disagreement, (-3.0, 0.1)),
}


@click.command(help=__doc__)
@click.argument("series", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder with tables of `benchmarks.trade_off`."
)
def main(series: tuple[Path, ...], out: Path) -> None:
    identity = identify_model(ensure_embedded_model())
    rows = []
    for path in series:
        records = [placed.record for placed in read_traffic(path)]
        full, half, rounded = (
            _replayed(path, records, identity, out, how) for how in ("float32", "bfloat16", "rounded")
        )
        first_r = split_halves(records, SPLIT_SEED)
        pairs = pairs_of(full, half, first_r)
        for name, (model, start) in MODELS.items():
            rows.append(_row(path.stem, name, model, start, pairs))
        rows.append(_row(path.stem, "logits rounded to bfloat16", _plain, (-3.0,), pairs_of(rounded, half, first_r)))
    NOISE_MODELS.write(out, "noise-models", Results[NoiseModelRow].measured(rows, {"split_seed": SPLIT_SEED}))
    click.echo(NOISE_MODELS.markdown(rows))


def _replayed(path: Path, records: Sequence[Record], identity: ModelIdentity, out: Path, how: str) -> Replayed:
    def rounding() -> TransformersReplayer:
        replayer = RoundedReplayer.load(identity)
        assert isinstance(replayer, RoundedReplayer)
        replayer.rounded = True
        return replayer

    make = rounding if how == "rounded" else partial(TransformersReplayer.load, identity, dtype=how)
    cache = out / "tables" / f"{file_sha256(path).hex()[:12]}-{how}"
    with progress_bar(sum(len(record.output_token_ids) for record in records), f"{path.stem}, {how}") as progress:
        return replayed(records, make, cache, progress)


def pairs_of(series: Replayed, other: Replayed, first_r: BoolArray) -> Pairs:
    """All pairs with both tokens surely in the support, and the rival within the window."""
    others: dict[tuple[int, int], dict[int, float]] = {}
    for placed in other.tables:
        ids, scores = placed.table.ids_nk, placed.table.scores_nk
        for row, key in enumerate(zip(placed.record_n.tolist(), placed.position_n.tolist(), strict=True)):
            others[key] = dict(zip(ids[row].tolist(), scores[row].tolist(), strict=True))
    columns: list[tuple[float, float, bool, bool, int, int]] = []
    tokens = 0
    level = WINDOW.logit_slacks.index(LOGIT_SLACK)
    for placed in series.tables:
        table = placed.table
        sure, _ = boundary(
            table.logit_distance_nk,
            table.mass_above_min_nke[:, :, level],
            table.mass_above_max_nke[:, :, level],
            table.top_p_n,
            LOGIT_SLACK,
            MASS_SLACK * table.mass_scale_n,
        )
        score_nk = np.where(sure, table.scores_nk, -np.inf)
        best_n = score_nk.max(axis=1)
        tokens += int((~first_r[placed.record_n]).sum())
        near_nk = (score_nk < best_n[:, None]) & (score_nk >= best_n[:, None] - WINDOW.margin)
        for row, column in zip(*np.nonzero(near_nk), strict=True):
            record, position = int(placed.record_n[row]), int(placed.position_n[row])
            there = others[record, position]
            choice = int(table.ids_nk[row, int(score_nk[row].argmax())])
            rival = int(table.ids_nk[row, column])
            if choice not in there or rival not in there:
                continue
            columns.append(
                (
                    float(best_n[row] - score_nk[row, column]),
                    there[choice] - there[rival],
                    column == 0,
                    bool(first_r[record]),
                    len(series.records[record].prompt_token_ids) + position,
                    int(near_nk[row].sum()),
                )
            )
    margin, apart, taken, first, context, rivals = (np.array(column) for column in zip(*columns, strict=True))
    return Pairs(margin, apart, taken, first, context.astype(np.float64), rivals.astype(np.float64), tokens)


def _row(series: str, name: str, model: Model, start: tuple[float, ...], pairs: Pairs) -> NoiseModelRow:
    def nats(parameters: FloatArray, which_p: BoolArray) -> float:
        margin_p, sigma_p = model(parameters, pairs)
        scaled_p = margin_p / (sigma_p * np.sqrt(2.0))
        return -float(np.where(pairs.taken_p, log_ndtr(-scaled_p), log_ndtr(scaled_p))[which_p].sum())

    found = minimize(nats, np.array(start), args=(pairs.first_p,), method="Nelder-Mead").x
    bits = nats(found, ~pairs.first_p) / np.log(2) / pairs.tokens
    sigma = float(np.exp(found[0]))
    return NoiseModelRow(series=series, noise_model=name, sigma_logits=sigma, bits_per_token=float(bits))


if __name__ == "__main__":
    main()
