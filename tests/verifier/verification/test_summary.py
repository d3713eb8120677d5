"""Summaries are put together in any order and grouping, and what comes out is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.recorded import FILTERED, records_of
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.verification.run_verdict import verify
from weightwarden.verifier.verification.summary import SHOWN_RECORDS, Summary, UnverifiableRecord, merge_all
from weightwarden.verifier.verification.verifier import Verifier
from weightwarden.verifier.verification.work_unit import work_units

RECORDS = records_of(FILTERED)[:60]


@pytest.fixture(scope="module")
def executor(bundled_policy: Policy) -> Verifier:
    return Verifier(CheapReplayer(bundled_policy, Path(), 300), bundled_policy)


@pytest.fixture(scope="module")
def parts(executor: Verifier) -> list[Summary]:
    return list(executor.summaries(work_units(RECORDS, executor.unit_tokens)))


def told(summary: Summary, executor: Verifier) -> dict[str, Any]:
    vocabulary = executor.replayer.identity.vocabulary
    return {
        "columns": {name: column.tolist() for name, column in vars(summary.columns).items()},
        "charges": {name: column.tolist() for name, column in vars(summary.charges).items()},
        "margins": summary.margins_b.tolist(),
        "flagged": summary.flagged,
        "shown": [shown.rank for shown in summary.shown],
        "trade-off": summary.tally.trade_off.points(executor.policy.rank_limit, vocabulary),
        "unverifiable": summary.unverifiable,
    }


def test_the_order_and_grouping_of_the_parts_do_not_matter(executor: Verifier, parts: list[Summary]) -> None:
    assert len(parts) > 10
    whole = merge_all(parts)
    assert whole is not None
    expected = told(whole.ordered(), executor)
    assert expected["flagged"]
    rng = np.random.default_rng(3)
    for _ in range(5):
        shuffled = [parts[at] for at in rng.permutation(len(parts))]
        cut = int(rng.integers(1, len(parts)))
        left, right = merge_all(shuffled[:cut]), Summary.merged(shuffled[cut:])
        assert left is not None
        assert told(Summary.merged([right, left]).ordered(), executor) == expected


def test_the_least_plausible_records_are_kept_and_no_more(executor: Verifier, parts: list[Summary]) -> None:
    whole = Summary.merged(parts)
    assert len(whole.shown) == SHOWN_RECORDS < len(RECORDS)
    p_value_r = np.sort(whole.columns.p_value_r[~whole.columns.flagged_r])
    kept = [shown.verdict.p_value for shown in whole.shown if not shown.verdict.flagged]
    assert kept == p_value_r[: len(kept)].tolist()


def test_a_record_without_a_summary_or_with_two_is_noticed(parts: list[Summary]) -> None:
    for wrong in (parts[1:], [*parts, parts[0]]):
        with pytest.raises(ValueError, match="every record once"):
            Summary.merged(wrong).ordered()


def test_a_record_that_is_unverifiable_could_have_carried_anything(executor: Verifier, parts: list[Summary]) -> None:
    vocabulary = executor.replayer.identity.vocabulary
    aside = Summary.of_unverifiable(
        UnverifiableRecord(len(RECORDS), tokens=1000, deaths=2, why="it ended them"), vocabulary, 12
    )
    whole = Summary.merged([aside, *parts]).ordered()
    most = 1000 * np.log2(vocabulary)
    assert whole.charges.counting_bits_r[-1] > most
    assert whole.charges.dangerous_r[-1] == whole.charges.mismatches_r[-1] == 1000
    assert whole.charges.pooled_token_bits_r[-1] > most
    assert not whole.columns.verified_r[-1]
    assert [record.place for record in whole.unverifiable] == [len(RECORDS)]


def test_a_run_is_the_same_whatever_the_units(executor: Verifier, bundled_policy: Policy) -> None:
    large = Verifier(CheapReplayer(bundled_policy, Path(), 10_000), bundled_policy)
    assert told(verify(large, RECORDS).summary, large) == told(verify(executor, RECORDS).summary, executor)
