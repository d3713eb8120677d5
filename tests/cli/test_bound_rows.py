"""The sentences of a limit: of which records, in which two parts, at which confidence, and what it assumes."""

from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from weightwarden.cli.reports.bounds import bound_contents, bound_rows
from weightwarden.verifier.statistics.conclusiveness import Conclusiveness
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import UpperLimit
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.exposure import Bound
from weightwarden.verifier.verification.input_file import ArchiveInput
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.run import Run

TOKENS = 30_000_000
LIMIT = UpperLimit(rate_bits=0.07121 * TOKENS, stock_bits=5_888_000.0, tokens=TOKENS, most_bits=16.0 * TOKENS)


def archive(start: int, end: int) -> ArchiveInput:
    return ArchiveInput(
        path="a.parquet", sha256="0" * 64, origin="example.org/log", start=start, end=end, size=end, root="0" * 64,
        keys=[],
    )  # fmt: skip


def context(limit: UpperLimit, *inputs: ArchiveInput, complete: bool = False) -> Run:
    """A run of 100,000 records with one bound for both codes."""
    unaudited = LengthTable.of({} if complete else {300: 99_000})
    audited = AuditedPopulation.of(np.full(1000, 300), [], unaudited, SamplingDesign(0.01))
    bound = Bound(
        audited_bits=20_400.0,
        limit=limit,
        conclusiveness=Conclusiveness(limit=limit.bits_per_token, most=16.0, tokens_needed=inf),
    )
    exposure: Any = SimpleNamespace(
        counting=bound, pooled=bound, leading_code="pooled", tokens=300_000, complete=complete
    )
    return cast(Run, SimpleNamespace(exposure=exposure, given=SimpleNamespace(audited=audited, inputs=inputs)))


def test_the_sentence_says_of_what_since_when_how_sure_and_both_parts() -> None:
    pooled, counting = bound_rows(context(LIMIT, archive(0, 60_000), archive(60_000, 100_000)))
    assert pooled.name == "pooled bound"  # the one that counts comes first
    assert pooled.limit == "at most 0.2675 (1.01 MB in 30,000,000 tokens)"
    assert pooled.meaning == (
        "For all 100000 records (0 to 99999 of the log example.org/log), audited or not, with 99% confidence over the"
        " draw of the audited ones, the choice of tokens and ends carried at most this, with larger costs for less"
        " likely tokens, pooled over all positions: 0.0713 bits a token, which grow with the traffic, and 736 kB once,"
        " which a few unaudited records can hold. It assumes that nobody who could change a record knew whether it"
        " would be audited."
    )
    assert counting.meaning.endswith("This is not the bound that counts under this policy.")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((), "records of these traffic files, audited"),
        ((archive(7, 60_000), archive(70_000, 110_007)), "of these archives (from record 7 to 110006 of the log"),
    ],
)
def test_the_records_are_named(inputs: tuple[ArchiveInput, ...], said: str) -> None:
    assert said in bound_rows(context(LIMIT, *inputs))[0].meaning


def test_the_sentence_is_true_where_the_records_cannot_hold_the_parts() -> None:
    full = replace(LIMIT, most_bits=1_000_000.0)
    (row, _) = bound_rows(context(full))
    assert row.meaning.endswith(
        "pooled over all positions: the bits of the audited ones, and all that the others can hold."
    )
    assert bound_contents(context(full), context(full).exposure.pooled)["limit_bits"] == 1_000_000.0


def test_a_limit_that_says_too_little_gives_no_number() -> None:
    (row, _) = bound_rows(context(replace(LIMIT, stock_bits=4e8)))
    assert row.limit.startswith("too little to say: a token is limited to 13.4 bits; a verdict needs at most 1.6")
    assert row.meaning == "Too little was audited for a limit that says something about the other records."


def test_with_every_record_audited_there_is_no_stock_and_no_confidence() -> None:
    whole = UpperLimit(rate_bits=20_400.0, stock_bits=0.0, tokens=300_000, most_bits=20_400.0)
    (row, _) = bound_rows(context(whole, complete=True))
    assert row.limit == "at most 0.0680 (2.55 kB in 300,000 tokens)"
    assert row.meaning == (
        "For all 1000 records, which were all audited, the choice of tokens and ends carried at most this, with larger"
        " costs for less likely tokens, pooled over all positions."
    )
