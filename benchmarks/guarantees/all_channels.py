"""All channels of honest traffic in one sum, for independent and exact replay, and the days until the weights are out.

    python -m benchmarks.guarantees.all_channels [--out FOLDER] [--answers 20000]

Tokens: for independent replay the bundled policy's upper limit of the pooled code on honest traffic; for exact replay
the code length of docs/results/exact-bfloat16.json. Ends: what an end as requested is charged. Refusals: a share of the
requests. Timing: the code of releases over answers of a simulated server (`benchmarks.release`). Readiness: a sidecar's
checks. The days are those of `verify estimate` at 10^12 tokens a day.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.release.large_server import LARGE, MAX_TOKENS, ServedAnswer, served
from benchmarks.release.measures import release_table
from benchmarks.release.release_rule import paced
from benchmarks.results.file import Results
from benchmarks.results.page import FILES
from benchmarks.results.tables.all_channels import ALL_CHANNELS, AllChannelsRow
from benchmarks.results.tables.exact import EXACT
from weightwarden.cli.options.token_bound import token_bound
from weightwarden.logger.release import Pace
from weightwarden.verifier.scoring.ledger import CODED_BITS, UNASKED_END_SHARE
from weightwarden.verifier.scoring.release_ledger import ReleaseTable
from weightwarden.verifier.statistics.exfiltration import (
    DAY_SECONDS,
    READINESS_SECONDS,
    AuditAssumptions,
    Leak,
    TimingChannel,
    Weights,
    estimate,
)
from weightwarden.verifier.statistics.traffic import Traffic

TOKENS_PER_DAY = 1e12
WEIGHTS_BYTES = 1e12
VOCABULARY = 49_152
PACES = ("4/200", "8/400", "16/800")
END_BITS = -float(np.log2(1 - UNASKED_END_SHARE)) + CODED_BITS
"""Charge of an end as requested, with the information that the tokens are coded, bits."""


def timing(pace: Pace, answers: Sequence[ServedAnswer]) -> ReleaseTable:
    """The timing of simulated answers at a pace."""
    return release_table([paced(answer.token_seconds, pace).release for answer in answers], answers)


def token_bits() -> dict[str, float]:
    """Bits a token of honest traffic by the kind of replay."""
    [exact] = EXACT.read(FILES / "exact-bfloat16.json").rows
    return {
        "independent": token_bound(None, None, None, VOCABULARY).bits_per_token,
        "exact": exact.counting_code_of_log2_v * float(np.log2(VOCABULARY)),
    }


def row(replay: str, bits: float, pace: str, seen: ReleaseTable, refusal_share: float) -> AllChannelsRow:
    """The row of one replay and pace."""
    per_token = seen.bits_per_token
    assert per_token is not None
    tokens_per_message = seen.tokens / seen.records
    traffic = Traffic(output_tokens_per_day=TOKENS_PER_DAY, tokens_per_message=tokens_per_message)
    leak = Leak(
        bits_per_token=bits + END_BITS / tokens_per_message,
        stock_bits=0.0,
        early_stop_share=0.0,
        length_limit=MAX_TOKENS,
        refusal_share=refusal_share,
        timing=TimingChannel(charged=per_token),
        log2_vocabulary=float(np.log2(VOCABULARY)),
        readiness_per_day=DAY_SECONDS / READINESS_SECONDS,
    )
    found = estimate(traffic, leak, AuditAssumptions(rate=0.01), Weights(size_bytes=WEIGHTS_BYTES))
    a_token = {term.name: term.bits_per_day / TOKENS_PER_DAY for term in found.terms}
    return AllChannelsRow(
        replay=replay,
        pace=pace,
        tokens=bits,
        ends=END_BITS / tokens_per_message,
        refusals=a_token["refusals"],
        timing=a_token["timing"],
        underrun_share=seen.underruns / seen.ticks,
        readiness=a_token["readiness"],
        days=found.days_to_exfiltrate,
    )


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all-channels.json and .md.")
@click.option("--answers", type=click.IntRange(1), default=20_000, show_default=True, help="Simulated answers.")
@click.option("--refusal-share", type=click.FloatRange(0, 1), default=1e-3, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path | None, answers: int, refusal_share: float, seed: int) -> None:
    simulated = served(LARGE, answers, np.random.default_rng(seed))
    seen = {pace: timing(Pace.parse(pace), simulated) for pace in PACES}
    rows = [
        row(replay, bits, pace, table, refusal_share)
        for replay, bits in token_bits().items()
        for pace, table in seen.items()
    ]
    click.echo(ALL_CHANNELS.markdown(rows))
    if out is not None:
        tokens = sum(len(answer.token_seconds) for answer in simulated)
        settings = {"answers": answers, "mean_tokens": tokens / answers, "refusal_share": refusal_share, "seed": seed}
        facts = {
            f"{pace} {name}": getattr(table, name) / table.records
            for pace, table in seen.items()
            for name in ("slot_bits", "underrun_bits", "end_bits")
        }
        ALL_CHANNELS.write(out, "all-channels", Results[AllChannelsRow].measured(rows, settings, facts=facts))


if __name__ == "__main__":
    main()
