"""A real engine's answers under grammars against masks and draws that are computed apart from the verifier.

    python -m benchmarks.grammars.engine_masks RECORDS.jsonl --out results

Every token of the records should win the draw of masked logits and noise, or be a tie: below the winner by no more than
the rounding of the engine (bfloat16) moves logits against this replay (float32).
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.grammars.examples import EXAMPLES
from benchmarks.grammars.independent_replay import IndependentReplay, Position
from benchmarks.results.file import Results
from benchmarks.results.tables.grammar_masks import GRAMMAR_MASKS, GrammarMasksRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model

TIE_LOGITS = 0.6
"""Largest margin of a tie. bfloat16 moved a logit of the embedded model by 0.56 at most (1,275 positions)."""
_GROUPS = {example.text: example.group for example in EXAMPLES}


def row_of(kind: str, answers: Sequence[tuple[Record, Sequence[Position]]]) -> GrammarMasksRow:
    """The row of some answers."""
    positions = [position for _, found in answers for position in found]
    margin = np.array([position.margin for position in positions])
    allowed = np.array([position.allowed for position in positions])
    return GrammarMasksRow(
        kind=kind,
        grammars=len({record.grammar.text for record, _ in answers if record.grammar is not None}),
        answers=len(answers),
        positions=len(positions),
        outside=sum(position.outside for position in positions),
        winners=int((margin == 0).sum()),
        ties=int(((margin > 0) & (margin <= TIE_LOGITS)).sum()),
        other=int((margin > TIE_LOGITS).sum()),
        winners_without_mask_share=float(np.mean([position.margin_unmasked == 0 for position in positions])),
        forced_share=float((allowed == 1).mean()),
        allowed_median=float(np.median(allowed)),
        largest_margin=float(margin.max()),
    )


@click.command(help=__doc__)
@click.argument("records", type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of results; made when new.")
def main(records: Path, out: Path) -> None:
    replay = IndependentReplay(identify_model(ensure_embedded_model()))
    answers = []
    given = [placed.record for placed in read_traffic(records)]
    with progress_bar(len(given), "Replaying") as progress:
        for record in given:
            answers.append((record, replay.positions(record)))
            progress(1)
    groups: dict[str, list[tuple[Record, list[Position]]]] = {}
    for record, positions in answers:
        assert record.grammar is not None
        groups.setdefault(_GROUPS[record.grammar.text], []).append((record, positions))
    rows = [*(row_of(kind, some) for kind, some in groups.items()), row_of("all", answers)]
    unreached = sum(len(record.output_token_ids) - len(positions) for record, positions in answers)
    measured = Results[GrammarMasksRow].measured(
        rows, {"records": records.name, "tie_logits": TIE_LOGITS}, facts={"positions_after_outside": unreached}
    )
    GRAMMAR_MASKS.write(out, "grammar-masks", measured)
    click.echo(GRAMMAR_MASKS.markdown(rows))


if __name__ == "__main__":
    main()
