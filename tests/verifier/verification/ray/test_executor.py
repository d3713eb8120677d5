"""Workers come and go, and what is said of the records stays the same."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.recorded import FILTERED, GREEDY, records_of
from tests.verifier.verification.ray import loads
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.verification.executor import WorkersKilled
from weightwarden.verifier.verification.ray.cluster import ClusterError
from weightwarden.verifier.verification.ray.executor import RayExecutor
from weightwarden.verifier.verification.ray.pool import WorkerFailed, WorkersDiffer
from weightwarden.verifier.verification.ray.worker import Load
from weightwarden.verifier.verification.run_verdict import Verification, verify
from weightwarden.verifier.verification.verifier import Verifier

RECORDS = [*records_of(FILTERED)[:40], *records_of(GREEDY)[:20]]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def told(found: Verification) -> dict[str, Any]:
    """All that a verification says, but how long it took."""
    summary = found.summary
    return {
        "columns": {name: json.dumps(column.tolist()) for name, column in vars(summary.columns).items()},
        "charges": {name: json.dumps(column.tolist()) for name, column in vars(summary.charges).items()},
        "margins": summary.margins_b.tolist(),
        "flagged": summary.flagged,
        "unverifiable": summary.unverifiable,
        "shown": [(shown.rank, shown.output_token_ids, shown.verdict.reasons) for shown in summary.shown],
        "margins of shown": [shown.verdict.tokens.margin.tolist() for shown in summary.shown],
        "trade-off": found.trade_off,
        "p": found.run_p_value,
        "bits": (found.charged_bits_per_token, found.unresolved_bits_per_token),
    }


@pytest.fixture
def single(bundled_policy: Policy, model_folder: Path) -> dict[str, Any]:
    """What a single process says of the records."""
    return told(
        Verifier(CheapReplayer(bundled_policy, model_folder, loads.UNIT_TOKENS), bundled_policy).verify(RECORDS)
    )


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(bundled_policy: Policy, said: list[str]) -> Iterator[Callable[..., RayExecutor]]:
    """Opens engines with two workers, and closes them."""
    engines: list[RayExecutor] = []

    def open_executor(load: Load, **options: Any) -> RayExecutor:
        engines.append(RayExecutor(load, bundled_policy, say=said.append, **({"workers": 2} | options)))
        return engines[-1]

    yield open_executor
    for executor in engines:
        executor.close()


def test_the_outcome_is_that_of_a_single_process(
    opened: Callable[..., RayExecutor], bundled_policy: Policy, model_folder: Path, single: dict[str, Any]
) -> None:
    executor = opened(partial(loads.cheap, policy=bundled_policy, folder=model_folder))
    replayed: list[int] = []
    executor.progress = replayed.append
    found = verify(executor, RECORDS)
    assert found.flagged  # something is to be told
    assert told(found) == single
    assert sum(replayed) == found.tokens
    assert len(replayed) > 4  # units
    judged = executor.judge(RECORDS)
    alone = Verifier(CheapReplayer(bundled_policy, model_folder), bundled_policy).judge(RECORDS)
    assert [record.index for record in judged.records] == list(range(len(RECORDS)))
    assert np.array_equal(judged.charges.pooled_bits_r, alone.charges.pooled_bits_r)
    assert np.array_equal(judged.margins.tokens_rb, alone.margins.tokens_rb)
    for ours, theirs in zip(judged.records, alone.records, strict=True):
        assert (ours.reasons, ours.alternatives) == (theirs.reasons, theirs.alternatives)


def test_grammars_are_compiled_on_the_workers_and_say_what_a_single_process_says(
    opened: Callable[..., RayExecutor], bundled_policy: Policy, model_folder: Path
) -> None:
    def under(record: Record, text: str) -> Record:
        grammar = {"kind": "regex", "text": text, "backend": "guidance", "version": "1.7.6"}
        return Record.model_validate(record.model_dump() | {"grammar": grammar})

    records = [*(under(record, "[0-9]+") for record in RECORDS[:6]), under(RECORDS[6], "("), *RECORDS[7:20]]
    found = verify(opened(partial(loads.cheap, policy=bundled_policy, folder=model_folder)), records)
    alone = Verifier(CheapReplayer(bundled_policy, model_folder, loads.UNIT_TOKENS), bundled_policy)
    assert told(found) == told(alone.verify(records))
    alone.close()
    assert found.outside_grammar == 6
    assert {record.place for record in found.flagged} >= set(range(6))
    assert [record.place for record in found.unverifiable] == [6]
    assert "its grammar cannot be used" in found.unverifiable[0].why


def test_workers_that_are_killed_during_a_run_are_replaced_and_the_outcome_is_the_same(
    opened: Callable[..., RayExecutor],
    bundled_policy: Policy,
    model_folder: Path,
    single: dict[str, Any],
    said: list[str],
) -> None:
    executor = opened(partial(loads.slow, policy=bundled_policy, folder=model_folder))
    victims = [worker.process for worker in executor.ready]

    def kill(_: int) -> None:
        if victims:
            os.kill(victims.pop(), signal.SIGKILL)

    executor.progress = kill
    found = verify(executor, RECORDS)
    assert not victims
    assert executor.deaths == 2
    assert sum("died while it replayed" in what for what in said) == 2
    assert told(found) == single


def test_a_record_that_ends_its_workers_is_unverifiable_and_all_others_are_verified(
    opened: Callable[..., RayExecutor], bundled_policy: Policy, model_folder: Path, single: dict[str, Any]
) -> None:
    poison = [RECORDS[7].prompt_token_ids]
    executor = opened(partial(loads.poisoned, policy=bundled_policy, folder=model_folder, poison=poison))
    found = verify(executor, RECORDS)
    assert [(aside.place, aside.tokens) for aside in found.unverifiable] == [(7, len(RECORDS[7].output_token_ids))]
    assert found.records == len(RECORDS) - 1
    assert found.tokens == sum(len(record.output_token_ids) for record in RECORDS) - len(RECORDS[7].output_token_ids)
    assert 7 not in [record.place for record in found.flagged]
    assert found.watched["flagged"][7] == 1
    log2_vocabulary = np.log2(found.vocabulary)
    assert found.charges.counting_bits_r[7] >= found.unverifiable[0].tokens * log2_vocabulary
    others = np.arange(len(RECORDS)) != 7
    counting_bits_r = np.array(json.loads(single["charges"]["counting_bits_r"]))
    assert np.array_equal(found.charges.counting_bits_r[others], counting_bits_r[others])
    with pytest.raises(WorkersKilled) as caught:
        executor.judge(RECORDS[6:9])
    assert caught.value.places == [1]


def test_a_failure_ends_the_run_and_what_was_under_way_is_not_taken_for_what_is_asked_next(
    opened: Callable[..., RayExecutor], bundled_policy: Policy, model_folder: Path, single: dict[str, Any]
) -> None:
    refused = RECORDS[-1].prompt_token_ids
    executor = opened(partial(loads.refusing, policy=bundled_policy, folder=model_folder, refused=refused))
    with pytest.raises(WorkerFailed, match="this one cannot be replayed"):
        executor.judge(RECORDS[-4:])
    found = executor.judge(RECORDS[:8])
    assert [len(record.tokens.margin) for record in found.records] == [len(r.output_token_ids) for r in RECORDS[:8]]
    assert found.charges.counting_bits_r.tolist() == json.loads(single["charges"]["counting_bits_r"])[:8]


def test_workers_that_cannot_replay_say_why(
    opened: Callable[..., RayExecutor], bundled_policy: Policy, model_folder: Path, said: list[str]
) -> None:
    with pytest.raises(WorkerFailed, match="there is no model on this node"):
        opened(loads.without_model)
    with pytest.raises(WorkersDiffer, match="process"):
        opened(partial(loads.of_different_sizes, policy=bundled_policy, folder=model_folder))
    with pytest.raises(WorkerFailed, match="while they loaded the model"):
        opened(loads.dying, workers=1)
    assert len(said) == 3
    with pytest.raises(ClusterError, match="1000 workers"):
        opened(loads.without_model, workers=1000)
