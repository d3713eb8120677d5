"""The replay protocol over an engine that gives hidden states step by step; vLLM itself: `tests/vllm`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
import torch

from tests.verifier.replay.transformers.test_replayer import rows_by_position, tiny_records
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.extras import MissingExtra
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.calibrated import open_share
from weightwarden.verifier.replay.vllm_local import replayer as module
from weightwarden.verifier.replay.vllm_local.engine import MAX_SEQUENCES
from weightwarden.verifier.replay.vllm_local.hidden_states import HiddenStates, StatesPart
from weightwarden.verifier.replay.vllm_local.replayer import VllmLocalReplayer

VOCABULARY = 300


@dataclass
class StepwiseEngine:
    """Hidden states [position, last id], of all sequences side by side, in steps of some tokens; the head is a table.

    Attributes:
        step: tokens of a step.
    """

    step: int
    version: str = "0.32.0"
    device: str = "cpu"
    context_length: int = 512
    closed: bool = False
    table: torch.Tensor = field(default_factory=lambda: torch.randn(512, VOCABULARY, generator=torch.manual_seed(1)))

    def states(self, sequences: Sequence[Sequence[int]], first: Sequence[int]) -> Iterator[list[StatesPart]]:
        flat = [(at, i) for at, ids in enumerate(sequences) for i in range(len(ids))]
        for low in range(0, len(flat), self.step):
            parts = []
            for at, ids in enumerate(sequences):
                here = [i for which, i in flat[low : low + self.step] if which == at and i >= first[at]]
                if here:
                    parts.append(StatesPart(at, here[0], torch.tensor([[i, ids[i]] for i in here])))
            if parts:
                yield parts

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.table[hidden[:, 0]] * hidden[:, 1:]

    def close(self) -> None:
        self.closed = True


def replayer_over(engine: StepwiseEngine, token_budget: int = 100) -> VllmLocalReplayer:
    identity = ModelIdentity(
        path=Path("model"), digest="sha256:" + "0" * 64, vocabulary=VOCABULARY, context_length=512, eos_ids=(2,)
    )
    return VllmLocalReplayer(engine, cast(Any, None), identity, dtype="float32", token_budget=token_budget)


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("block", [1, 5, 4096])
def test_every_output_position_has_its_row_once(step: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that end inside of a prompt or an answer, and blocks that end inside of a step."""
    monkeypatch.setitem(module.CHUNK_BYTES, "cpu", 4 * VOCABULARY * block)
    engine, records = StepwiseEngine(step), tiny_records(9, 5)
    rows = rows_by_position(cast(Any, replayer_over(engine)), records)
    assert len(rows) == sum(len(record.output_token_ids) for record in records)
    for (index, position), row in rows.items():
        record = records[index]
        at = len(record.prompt_token_ids) + position - 1
        before = [*record.prompt_token_ids, *record.output_token_ids][at]
        torch.testing.assert_close(row, engine.table[at] * before)


@pytest.mark.parametrize("token_budget", [1, 60, 5000])
def test_a_batch_is_what_one_step_takes(token_budget: int) -> None:
    records = tiny_records(200, 6)
    lengths = [len(record.prompt_token_ids) + len(record.output_token_ids) - 1 for record in records]
    batches = replayer_over(StepwiseEngine(100), token_budget).batches(records)
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    for batch in batches:
        assert len(batch) <= MAX_SEQUENCES
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= token_budget


def test_a_record_longer_than_the_engines_context_is_refused() -> None:
    engine = StepwiseEngine(100, context_length=5)
    record = next(r for r in tiny_records(20, 7) if len(r.prompt_token_ids) + len(r.output_token_ids) > 6)
    with pytest.raises(ReplayError, match="context of 5"):
        list(replayer_over(engine).replay([0], [record]))


class FakeRunner:
    """A model runner's bookkeeping, as `HiddenStates` reads it."""

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.input_batch = SimpleNamespace(req_id_to_index={})
        self.query_start_loc = SimpleNamespace(np=[])
        self.calls = 0

    def _get_prompt_logprobs_dict(self, hidden_states: torch.Tensor, scheduled: dict[str, int]) -> dict[str, Any]:
        self.calls += 1
        return {"theirs": self.calls}

    def step(self, *scheduled: tuple[str, int, int]) -> dict[str, Any]:
        """One step over (request, tokens computed before, tokens now); a row of states is (request, position)."""
        rows: list[list[float]] = []
        starts: list[int] = []
        for at, (request, start, count) in enumerate(scheduled):
            self.requests[request] = SimpleNamespace(num_computed_tokens=start)
            self.input_batch.req_id_to_index[request] = at
            starts.append(len(rows))
            rows += [[float(ord(request)), float(position)] for position in range(start, start + count)]
        self.query_start_loc.np = starts
        return self._get_prompt_logprobs_dict(torch.tensor(rows), {r: count for r, _, count in scheduled})


def test_states_of_prompts_in_chunks_and_after_preemption_are_kept_once() -> None:
    runner, states = FakeRunner(), HiddenStates()
    states.attach(runner)
    states.expect("a", 0, 3)
    states.expect("b", 1, 0)
    assert runner.step(("b", 0, 4), ("x", 0, 5), ("a", 0, 2)) == {"theirs": 1}
    runner.step(("a", 2, 4), ("b", 4, 1))
    found = states.take()
    runner.step(("a", 0, 8))  # from its beginning, after preemption
    found += states.take()
    assert states.take() == []
    rows = {(part.sequence, part.first + at): row.tolist() for part in found for at, row in enumerate(part.hidden)}
    assert sum(len(part.hidden) for part in found) == len(rows)
    a, b = float(ord("a")), float(ord("b"))
    assert rows == {(0, i): [a, float(i)] for i in range(3, 8)} | {(1, i): [b, float(i)] for i in range(5)}


def test_states_are_copies_of_the_engines_memory() -> None:
    runner, states = FakeRunner(), HiddenStates()
    states.attach(runner)
    states.expect("a", 0, 0)
    memory = torch.ones(2, 2)
    runner.requests["a"] = SimpleNamespace(num_computed_tokens=0)
    runner.input_batch.req_id_to_index["a"] = 0
    runner.query_start_loc.np = [0]
    runner._get_prompt_logprobs_dict(memory, {"a": 2})
    memory.zero_()
    (part,) = states.take()
    assert part.hidden.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_without_vllm_the_message_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"vllm is missing: .*vllm-local"):
        VllmLocalReplayer.load(replayer_over(StepwiseEngine(1)).identity)


def test_options_that_do_not_apply_are_refused() -> None:
    with pytest.raises(click.UsageError, match="--device does not apply"):
        ReplayOptions(implementation="vllm-local", device="cuda:1")
    with pytest.raises(click.UsageError, match="no adapters"):
        ReplayOptions(implementation="vllm-local", adapter=(("one", Path("one")),))
    with pytest.raises(click.UsageError, match="--replay-url requires --replayer vllm"):
        ReplayOptions(implementation="vllm-local", replay_urls=("http://127.0.0.1:8000",))
    assert ReplayOptions(implementation="vllm-local", token_budget=64).token_budget == 64


def test_a_policy_for_it_expects_no_open_positions() -> None:
    assert open_share(cast(Any, SimpleNamespace(replay="vllm-local"))) == 0
    assert open_share(cast(Any, SimpleNamespace(replay="vllm"))) > 0
