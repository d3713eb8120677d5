"""The tables of docs/results.md, made from the files of docs/results.

    python -m benchmarks.results [--check]

A table lies between `<!-- table: NAME -->` and `<!-- end -->`, and equals the NAME.md of its benchmark. A marker of
several names makes one table of their rows. With --check nothing is written, and the exit code is 1 if the page differs
from the files.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from benchmarks.repository import ROOT
from benchmarks.results.table import ResultsTable
from benchmarks.results.tables.adapters import ADAPTERS
from benchmarks.results.tables.admissible_sets import ADMISSIBLE_SETS
from benchmarks.results.tables.all_channels import ALL_CHANNELS
from benchmarks.results.tables.attackers import ATTACKERS
from benchmarks.results.tables.cascade import CASCADE
from benchmarks.results.tables.cluster import CLUSTER_DRIVER, CLUSTER_SPEED
from benchmarks.results.tables.egress import EGRESS
from benchmarks.results.tables.egress_speed import EGRESS_SPEED
from benchmarks.results.tables.exact import EXACT
from benchmarks.results.tables.gpu import GPU
from benchmarks.results.tables.grammar_bits import GRAMMAR_BITS
from benchmarks.results.tables.grammar_cost import GRAMMAR_COST
from benchmarks.results.tables.grammar_masks import GRAMMAR_MASKS
from benchmarks.results.tables.honest_capital import HONEST_CAPITAL
from benchmarks.results.tables.limits import LIMITS
from benchmarks.results.tables.month import MONTH
from benchmarks.results.tables.noise_models import NOISE_MODELS
from benchmarks.results.tables.one_hot_speculation import ONE_HOT_SPECULATION
from benchmarks.results.tables.random_requests import RANDOM_REQUESTS
from benchmarks.results.tables.release_jitter import RELEASE_JITTER
from benchmarks.results.tables.release_pace import RELEASE_PACE
from benchmarks.results.tables.side_channels import SIDE_CHANNELS
from benchmarks.results.tables.sidecar_cost import SIDECAR_BEGINNING, SIDECAR_STEADY, SIDECAR_TOKEN_WAY
from benchmarks.results.tables.speculation import SPECULATION
from benchmarks.results.tables.tokens_to_alarm import TOKENS_TO_ALARM
from benchmarks.results.tables.trade_off import TRADE_OFF
from benchmarks.results.tables.ways_out import WAYS_OUT
from benchmarks.results.tables.workers import WORKERS
from benchmarks.results.tables.year import YEAR
from weightwarden.logger.files.output import write_text

PAGE = ROOT / "docs" / "results.md"
FILES = ROOT / "docs" / "results"
TABLES: Mapping[str, ResultsTable[Any]] = {
    "attackers": ATTACKERS,
    "tokens-to-alarm": TOKENS_TO_ALARM,
    "honest-capital": HONEST_CAPITAL,
    "side-channels": SIDE_CHANNELS,
    "load-channels": SIDE_CHANNELS,
    "all-channels": ALL_CHANNELS,
    "release-jitter": RELEASE_JITTER,
    "release-pace": RELEASE_PACE,
    "release-pace-vllm": RELEASE_PACE,
    "ways-out": WAYS_OUT,
    "trade-off": TRADE_OFF,
    "admissible-sets": ADMISSIBLE_SETS,
    "noise-models": NOISE_MODELS,
    "cascade": CASCADE,
    "exact-bfloat16": EXACT,
    "cluster-speed": CLUSTER_SPEED,
    "cluster-driver": CLUSTER_DRIVER,
    "gpu": GPU,
    "random-requests-simulated": RANDOM_REQUESTS,
    "random-requests-vllm": RANDOM_REQUESTS,
    "year": YEAR,
    "month": MONTH,
    "limits": LIMITS,
    "grammar-masks": GRAMMAR_MASKS,
    "grammar-bits": GRAMMAR_BITS,
    "one-hot-speculation": ONE_HOT_SPECULATION,
    "grammar-cost": GRAMMAR_COST,
    "sidecar-steady": SIDECAR_STEADY,
    "sidecar-beginning": SIDECAR_BEGINNING,
    "sidecar-token-way": SIDECAR_TOKEN_WAY,
    "adapters": ADAPTERS,
    "workers": WORKERS,
    "egress": EGRESS,
    "egress-speed": EGRESS_SPEED,
    "speculation": SPECULATION,
}
"""The table of each file, by its name without `.json`."""
MARKED = re.compile(r"<!-- table: ([\w -]+) -->\n(.*?)<!-- end -->", re.DOTALL)


class ResultsPageError(click.ClickException):
    """The page names a table that does not exist, or a file does not belong to its table."""


def generated(page: str, files: Path) -> str:
    """The page with the tables made from the files.

    Args:
        page: the text of the page, with markers.
        files: the folder of the results files.

    Raises:
        ResultsPageError: a marker names no table, or a file is missing or does not belong to its table.
    """
    return MARKED.sub(lambda marked: _block(marked[1].split(), files), page)


def _block(names: list[str], files: Path) -> str:
    """The markers of some files, the table of their rows between them, and links to the files."""
    rows, links = [], []
    for name in names:
        if name not in TABLES:
            raise ResultsPageError(f"no table is named {name!r}; known: {', '.join(TABLES)}")
        try:
            results = TABLES[name].read(files / f"{name}.json")
        except (OSError, ValidationError) as error:
            raise ResultsPageError(f"{files / name}.json: {error}") from error
        rows += results.rows
        links.append(f"[{name}.json]({files.name}/{name}.json)" + (" (transcribed)" if results.provenance else ""))
    table = TABLES[names[0]].markdown(rows)
    return f"<!-- table: {' '.join(names)} -->\n\n{table}\nFrom {', '.join(links)}.\n\n<!-- end -->"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 where the page is not what the files give.")
def main(check: bool) -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = generated(page, FILES)
    if check and made != page:
        raise click.ClickException(f"{PAGE}: not what the files give; `make results-page` makes it anew")
    if made != page:
        write_text(PAGE, made, public=True)
    click.echo(f"{PAGE}: what the files give")
