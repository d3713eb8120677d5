"""What stock speculation leaves open: sizes of the admissible sets of scheme `vllm-v2-one-hot` on real logits.

    python -m benchmarks.one_hot_speculation --out docs/results

The embedded model's logits at every position of the recorded unfiltered answers, with exact tolerances, so that the
sets hold what some draft gives and nothing else. The answers' own tokens do not matter. Drafts of the likeliest token
stand for a good drafter.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.repository import DATA
from benchmarks.results.file import Results, Settings
from benchmarks.results.tables.one_hot_speculation import ONE_HOT_SPECULATION, OneHotSpeculationRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.gumbel_head import placed_head, take_head
from weightwarden.verifier.candidates.normaliser import log_normaliser
from weightwarden.verifier.candidates.one_hot import one_hot_candidates
from weightwarden.verifier.candidates.pending import concat
from weightwarden.verifier.logits.rows import LogitRows
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE, EXACT_WINDOW
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.token_scores import score

SCHEME = "vllm-v2-one-hot"
TRAFFIC = DATA / "smollm2-vllm0.32-t1.0-unfiltered.jsonl"
SETTINGS: Mapping[str, dict[str, Any]] = {
    "T = 1": {"temperature": 1.0},
    "T = 1, top-k 50, top-p 0.95": {"temperature": 1.0, "top_k": 50, "top_p": 0.95},
    "T = 0.7": {"temperature": 0.7},
    "T = 0.6, top-k 20, top-p 0.95": {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
}


def sampled_with(record: Record, sampling: dict[str, Any]) -> Record:
    """The record as one of a speculating engine, with other sampling parameters."""
    given = {"max_tokens": len(record.output_token_ids), **sampling}
    engine = record.engine.model_dump() | {"sampler": SCHEME}
    return Record.model_validate(record.model_dump() | {"engine": engine, "sampling": given})


def sizes(rows: LogitRows, draws: Draws) -> tuple[IntArray, IntArray, BoolArray]:
    """Numbers [n] of admissible tokens with and without speculation, and where a draft of the likeliest token gives
    another token than plain seeded sampling.
    """
    head, ids = take_head(rows, draws, EXACT_WINDOW, rows.steepest())
    looked = placed_head(rows, draws, EXACT_WINDOW, head, ids)
    log_mass_ne, _ = log_normaliser(rows, draws, EXACT_WINDOW, head, looked)
    assert draws.uniforms_n is not None
    log_p: FloatArray = head[:, 0] / draws.temperature_n - log_mass_ne[:, 0]
    accepted = log_p > np.log(draws.uniforms_n)
    found = score(concat(one_hot_candidates(rows, draws, EXACT_WINDOW)), EXACT_TOLERANCE, 0)
    plain = score(gumbel_candidates(rows, draws, EXACT_WINDOW), EXACT_TOLERANCE, 0)
    # The claimed token is the likeliest one: exact where the seeded draw is that.
    return found.admissible_n, plain.admissible_n, accepted != found.exact_n


@click.command(help=__doc__)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of results; made when new.")
@click.option("--records", default=28, show_default=True, help="Number of answers.")
def main(out: Path, records: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    replayer = TransformersReplayer.load(identify_model(ensure_embedded_model()))
    answers = [placed.record for placed in read_traffic(TRAFFIC)][:records]
    series = {name: [sampled_with(record, sampling) for record in answers] for name, sampling in SETTINGS.items()}
    counts: dict[str, list[tuple[IntArray, IntArray, BoolArray]]] = {name: [] for name in SETTINGS}
    with progress_bar(sum(len(record.output_token_ids) for record in answers), "Replay") as progress:
        for batch in replayer.batches(answers):
            for chunk in replayer.replay(batch, answers):
                likeliest = chunk.rows.head(np.arange(len(chunk.rows)), 1)[1][:, 0]
                for name, group in series.items():
                    builder = DrawBuilder(SCHEME, replayer.identity, replayer.tokenizer)
                    draws = builder.draws(chunk.rows, chunk.pieces, group)
                    counts[name].append(sizes(chunk.rows, replace(draws, claimed_n=likeliest)))
                progress(len(chunk.rows))
    rows = []
    vocabulary = replayer.identity.vocabulary
    for name, found in counts.items():
        size, plain, other = (np.concatenate(parts) for parts in zip(*found, strict=True))
        bits = float(np.log2(size).mean())
        rows.append(
            OneHotSpeculationRow(
                setting=name,
                positions=len(size),
                admissible_mean=float(size.mean()),
                admissible_max=int(size.max()),
                one_admissible_share=float((size == 1).mean()),
                bits_mean=bits,
                share_of_all=bits / float(np.log2(vocabulary)),
                plain_bits_mean=float(np.log2(plain).mean()),
                other_share=float(other.mean()),
            )
        )
    settings: Settings = {"traffic": TRAFFIC.name, "records": len(answers), "vocabulary": vocabulary}
    ONE_HOT_SPECULATION.write(out, "one-hot-speculation", Results[OneHotSpeculationRow].measured(rows, settings))
    click.echo(ONE_HOT_SPECULATION.markdown(rows))


if __name__ == "__main__":
    main()
