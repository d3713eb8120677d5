"""Answers with low-rank adapters: honest ones pass, and an answer of another adapter, or of none, is flagged."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.attackers.serving import ServedModel, honestly
from benchmarks.random_adapter import write_random_adapter
from tests.recorded import FILTERED, records_of
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters
from weightwarden.logger.record import Adapter, Record
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

pytest.importorskip("peft")

EACH, TOKENS = 1, 16


@pytest.fixture(scope="module")
def adapters(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[AdapterFiles]:
    folder = tmp_path_factory.mktemp("adapters")
    for seed in range(2):
        write_random_adapter(folder / f"a{seed}", model_folder, seed=seed)
    return list(read_adapters([], [folder]).values())


@pytest.fixture(scope="module")
def some(model_folder: Path, adapters: list[AdapterFiles]) -> TransformersReplayer:
    identity = replace(identify_model(model_folder), adapters={one.digest: one for one in adapters})
    return TransformersReplayer.load(identity, device="cpu")


@pytest.fixture(scope="module")
def honest(some: TransformersReplayer, adapters: list[AdapterFiles]) -> list[Record]:
    """Answers of the model alone, and of each adapter."""
    server = ServedModel(some.model, some.identity)
    found = []
    for at, adapter in enumerate((None, *(one.of_record() for one in adapters))):
        some.adapters.use(adapter)
        asked = [
            one.model_copy(
                update={
                    "output_token_ids": [],
                    "adapter": adapter,
                    "sampling": one.sampling.model_copy(update={"max_tokens": TOKENS}),
                }
            )
            for one in records_of(FILTERED)[EACH * at : EACH * (at + 1)]
        ]
        for record, output in zip(asked, server.serve(asked, honestly), strict=True):
            reason = "length" if len(output) == TOKENS else "stop"
            found.append(record.model_copy(update={"output_token_ids": output, "finish_reason": reason}))
    return found


def flagged(verifier: Verifier, records: Sequence[Record]) -> list[bool]:
    return [bool(record.reasons) for record in verifier.judge(records).records]


def test_honest_answers_pass_and_those_of_another_adapter_are_flagged(
    some: TransformersReplayer, bundled_policy: Policy, honest: list[Record], adapters: list[AdapterFiles]
) -> None:
    verifier = Verifier(some, bundled_policy)
    assert flagged(verifier, honest) == [False] * len(honest)
    assert flagged(verifier, honest[::-1]) == [False] * len(honest)

    def claimed(record: Record, adapter: Adapter | None) -> Record:
        return record.model_copy(update={"adapter": adapter})

    first, second = (one.of_record() for one in adapters)
    plain, of_first, of_second = (honest[EACH * at : EACH * (at + 1)] for at in range(3))
    wrong = [claimed(one, first) for one in plain] + [claimed(one, second) for one in of_first]
    wrong += [claimed(one, None) for one in of_second]
    assert flagged(verifier, wrong) == [True] * len(wrong)
    right, mixed = (verifier.verify(records).summary.adapters for records in (honest, [*wrong, *of_first]))
    keys = sorted((one.name, one.digest) for one in (first, second))
    assert list(right) == list(mixed) == keys
    assert [counts.flagged for counts in right.values()] == [0, 0]
    assert right[first.name, first.digest].records == EACH
    assert mixed[first.name, first.digest].records == 2 * EACH
    assert mixed[first.name, first.digest].flagged == EACH
