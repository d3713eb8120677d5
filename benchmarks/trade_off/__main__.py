"""The trade-off curve of the paper, by score, bound and precision of the replay, on real traffic of a vLLM server.

    python -m benchmarks.trade_off --out results SERIES.jsonl... [--precision float32] [--precision bfloat16]

Every series is replayed once in each precision; the tables are kept in --out. One half of the prompts, with all their
answers, chooses slacks, thresholds and codes, the other half judges. In the curves every token beyond the threshold is
a false positive; the table grades them: a token that is likely enough is suspicious. "published" is the margin score of
arXiv 2511.02620 (`published.py`), "boundary-aware" this project's. "charge" is the paper's: log2 of the admissible set,
of the rank limit, or of V; "counting code" and "pooled code" are lengths under codes, and bound the information
carried.
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.attackers.plots import save
from benchmarks.results.file import Results
from benchmarks.results.tables.admissible_sets import ADMISSIBLE_SETS, AdmissibleSetsRow
from benchmarks.results.tables.trade_off import TRADE_OFF, ChargedShare, TradeOffRow
from benchmarks.trade_off import plots
from benchmarks.trade_off.curve import TABLE_RATE, Point, chosen_slacks, counting_curve, pooled_curve
from benchmarks.trade_off.published import Published, gm_ls
from benchmarks.trade_off.replayed import Replayed, replayed
from benchmarks.trade_off.scored import Choice, Score, Scored
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES, fit_noise_scale


@click.command(help=__doc__)
@click.argument("series", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results; made when new.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["float32", "bfloat16"]),
    default=("float32", "bfloat16"),
    show_default=True,
)
@click.option("--seed", default=0, show_default=True, help="Of the split into halves.")
def main(series: tuple[Path, ...], out: Path, precisions: tuple[str, ...], seed: int) -> None:
    (out / "series").mkdir(parents=True, exist_ok=True)
    identity = identify_model(ensure_embedded_model())
    capacity = float(np.log2(identity.vocabulary))
    results: list[dict[str, Any]] = []
    for path in series:
        for precision in precisions:
            digest = file_sha256(path).hex()
            stored = out / "series" / f"{path.stem}-{precision}-{digest[:12]}-{seed}.json"
            if not stored.exists():
                found = _series(path, identity, precision, out / "tables" / f"{digest[:12]}-{precision}", seed)
                write_text(stored, json.dumps(found | {"sha256": digest}, indent=1))
            result = json.loads(stored.read_text(encoding="utf-8"))
            results.append(result)
            curves = {name: [Point(**point) for point in points] for name, points in result["curves"].items()}
            title = f"{path.stem}, replayed in {precision}: {result['judged_tokens']} tokens judged"
            save(plots.curves(title, curves, capacity, result["entropy"]), out, f"trade-off-{path.stem}-{precision}")
            click.echo("\n".join(map(TRADE_OFF.line, _rows(result, capacity))))
    sizes = {r["name"]: {int(k): v for k, v in r["sizes"].items()} for r in results if r["precision"] == precisions[0]}
    save(plots.set_sizes(sizes), out, "admissible-sets")
    settings = {"dangerous_rate": TABLE_RATE, "seed": seed}
    rows = [
        row for precision in precisions for r in results if r["precision"] == precision for row in _rows(r, capacity)
    ]
    facts = {"capacity_bits_per_token": capacity}
    TRADE_OFF.write(out, "trade-off", Results[TradeOffRow].measured(rows, settings, facts=facts))
    shares = [_admissible_sets(name, share_of_size) for name, share_of_size in sizes.items()]
    settings_of_sets = settings | {"replay": precisions[0]}
    ADMISSIBLE_SETS.write(out, "admissible-sets", Results[AdmissibleSetsRow].measured(shares, settings_of_sets))
    click.echo(TRADE_OFF.markdown(rows))


def _series(path: Path, identity: ModelIdentity, precision: str, cache: Path, seed: int) -> dict[str, Any]:
    """All curves of a series in one precision."""
    records = [placed.record for placed in read_traffic(path)]
    tokens = sum(len(record.output_token_ids) for record in records)
    with progress_bar(tokens, f"Replaying {path.stem} in {precision}") as progress:
        replayer = partial(TransformersReplayer.load, identity, dtype=precision)
        of = replayed(records, replayer, cache, progress)
    half_p = of.half_of_prompts(seed)
    make = partial(_scored, of, identity.vocabulary)
    published = make(Published())
    slacks = chosen_slacks(make, half_p)
    aware, pooled, strict = make(slacks.counting), make(slacks.pooled), make(slacks.curves)
    curves = {
        "published": counting_curve(published, half_p, graded=False),
        "boundary-aware": counting_curve(strict, half_p, graded=False),
        "pooled": pooled_curve(pooled, half_p, graded=False),
    }
    graded = {
        "published": (counting_curve(published, half_p, graded=True), pooled_curve(published, half_p, graded=True)),
        "boundary-aware": (counting_curve(aware, half_p, graded=True), pooled_curve(pooled, half_p, graded=True)),
    }
    at = next(point for point in graded["boundary-aware"][0] if point.rate == TABLE_RATE)
    theirs = next(point for point in graded["published"][0] if point.rate == TABLE_RATE)
    sigma = fit_noise_scale([scores.take(half_p[prompt_n]) for prompt_n, scores in published.parts])
    sizes = aware.admissible_sizes(at.margin, ~half_p)
    edges = np.array(MARGIN_EDGES)
    return {
        "name": path.stem,
        "precision": precision,
        "records": len(records),
        "tokens": tokens,
        "judged_tokens": int(aware.tokens_p[~half_p].sum()),
        "exact_match": aware.exact_match(~half_p),
        "slacks": asdict(slacks),
        "published_sigma": sigma,
        "published_tau": float(gm_ls(np.array(theirs.margin), sigma)),
        "entropy": pooled.entropy(pooled.pooled_code(edges, at.rank_limit, half_p), ~half_p),
        "counting_code": {
            score: scored.counting_code_sums(Choice(p.margin, p.rank_limit), half_p, ~half_p).bits_per_token
            for score, scored, p in (("published", published, theirs), ("boundary-aware", aware, at))
        },
        "graded": {score: [[asdict(p) for p in points] for points in both] for score, both in graded.items()},
        "curves": {name: [asdict(point) for point in points] for name, points in curves.items()},
        "sizes": {int(size): float((sizes == size).mean()) for size in range(1, int(sizes.max()) + 1)},
    }


def _scored(of: Replayed, vocabulary: int, by: Score) -> Scored:
    return Scored(of, by, vocabulary)


def _rows(result: dict[str, Any], capacity: float) -> list[TradeOffRow]:
    """The rows of a series at `TABLE_RATE`, by score, on the judging half."""

    def at(points: list[dict[str, Any]]) -> Point:
        return next(Point(**point) for point in points if point["rate"] == TABLE_RATE)

    def left(point: Point) -> ChargedShare:
        bits = {"value": point.bits_per_token, "low": point.low, "high": point.high}
        return ChargedShare(**{name: value / capacity for name, value in bits.items()})

    return [
        TradeOffRow(
            series=result["name"],
            replay=result["precision"],
            tokens=result["tokens"],
            judged_tokens=result["judged_tokens"],
            exact_match_share=result["exact_match"],
            score=score,
            charge_of_log2_v=left(at(counting)),
            counting_code_of_log2_v=result["counting_code"][score] / capacity,
            pooled_code_of_log2_v=left(at(pooled)),
            dangerous_share=at(counting).dangerous,
            dangerous_share_at_most=at(counting).dangerous_upper,
            entropy_of_log2_v=result["entropy"] / capacity,
        )
        for score, (counting, pooled) in result["graded"].items()
    ]


def _admissible_sets(series: str, share_of_size: dict[int, float]) -> AdmissibleSetsRow:
    return AdmissibleSetsRow(
        series=series,
        one_share=share_of_size.get(1, 0.0),
        two_share=share_of_size.get(2, 0.0),
        three_share=share_of_size.get(3, 0.0),
        more_share=sum(share for size, share in share_of_size.items() if size > 3),
        most_tokens=max(share_of_size),
    )


if __name__ == "__main__":
    main()
