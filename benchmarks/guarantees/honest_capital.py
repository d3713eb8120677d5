"""False alarms of the series monitor on recorded honest traffic: the largest capital in random orders.

    python -m benchmarks.guarantees.honest_capital --out results [--orders 10] [--records N] SERIES.jsonl...

The answers of each series, by the server of the bundled policy, are a series of audits under that policy. The records
come in a random order, `--orders` times over. Ends of answers are not judged, and positions that rounding decides are
judged like others. Candidate tables are kept in --out.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.deviations.bets import RecordFactors
from benchmarks.deviations.judging import JudgedClaims
from benchmarks.repository import BUNDLED_POLICY
from benchmarks.results.file import Results
from benchmarks.results.tables.honest_capital import HONEST_CAPITAL, HonestCapitalRow
from benchmarks.trade_off.replayed import WINDOW, Replayed, replayed
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.verification.series_monitor import SeriesMonitor

LARGEST_WEIGHT = 1024.0
"""Largest weight limit of a record in the monitor, tokens: the default of `verify monitor`."""


@click.command(help=__doc__)
@click.argument("series", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results; made when new.")
@click.option("--orders", type=click.IntRange(1), default=10, show_default=True, help="Random orders of each series.")
@click.option("--records", type=click.IntRange(16), help="Only so many records of each series.")
@click.option("--seed", default=0, show_default=True)
def main(series: tuple[Path, ...], out: Path, orders: int, records: int | None, seed: int) -> None:
    identity = identify_model(ensure_embedded_model())
    rows = []
    for path in series:
        answers = [placed.record for placed in read_traffic(path)][:records]
        row = honest_row(path, answers, identity, out, orders, np.random.default_rng(seed))
        click.echo(HONEST_CAPITAL.line(row))
        rows.append(row)
    settings = {"orders": orders, "records_of_each_at_most": records, "seed": seed}
    HONEST_CAPITAL.write(out, "honest-capital", Results[HonestCapitalRow].measured(rows, settings))


def honest_row(
    path: Path, answers: Sequence[Record], identity: ModelIdentity, out: Path, orders: int, rng: np.random.Generator
) -> HonestCapitalRow:
    """The row of one series."""
    load = partial(TransformersReplayer.load, identity)
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    for answer in answers:
        policy.check_scheme(answer)
    tokens = sum(len(answer.output_token_ids) for answer in answers)
    cache = out / "tables" / f"{file_sha256(path).hex()[:12]}-honest-{len(answers)}"
    with progress_bar(tokens, f"Replaying {path.stem}") as progress:
        tables = replayed(answers, load, cache, progress)
    columns = judged(tables, policy, identity.vocabulary).columns
    factors = RecordFactors.of(SeriesMonitor.new(policy, float(np.log2(identity.vocabulary)), LARGEST_WEIGHT), columns)
    largest = [factors.largest_log_capital(rng.permutation(len(answers))) for _ in range(orders)]
    return HonestCapitalRow(
        series=path.stem,
        records=len(answers),
        tokens=tokens,
        largest_capital=float(np.exp(max(largest))),
        median_largest_capital=float(np.exp(np.median(largest))),
    )


def judged(tables: Replayed, policy: Policy, vocabulary: int) -> JudgedClaims:
    """The judged records of a series."""
    level = WINDOW.logit_slacks.index(policy.thresholds.logit_slack_logits)
    scored = [(placed.record_n, score(placed.table, policy.tolerance, level)) for placed in tables.tables]
    return JudgedClaims.of(scored, len(tables.records), policy, vocabulary)


if __name__ == "__main__":
    main()
