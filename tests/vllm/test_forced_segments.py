"""Answers of two requests with a forced end between them, drawn by the real server and verified against it."""

import json
from pathlib import Path

import pytest

from tests.recorded import GREEDY, records_of
from tests.vllm.commands import invoke, written
from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Reasoning, Record
from weightwarden.logger.sidecar.log.recorder import ended
from weightwarden.logger.text.ending import Ending
from weightwarden.logger.text.forced_end import ForcedEnd
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

BUDGET, LIMIT = 16, 48
REASONING = Reasoning(start="", end="</think>", budget=BUDGET, forced_end="\n</think>\n\n")
KINDS = {
    "unfiltered": SamplingParams(max_tokens=LIMIT, min_tokens=LIMIT),
    "filtered": SamplingParams(max_tokens=LIMIT, min_tokens=LIMIT, top_p=0.95, top_k=50),
    "penalties": SamplingParams(
        max_tokens=LIMIT, min_tokens=LIMIT, repetition_penalty=1.2, presence_penalty=0.6, frequency_penalty=0.4
    ),
    "greedy": SamplingParams(max_tokens=LIMIT, min_tokens=LIMIT, temperature=0.0),
}


@pytest.fixture(scope="module")
def answers(server: VllmClient, replayer: TransformersReplayer) -> list[Record]:
    """Four answers of each kind: the first request is left at the budget, the second has the rest of the limits."""
    found = []
    for number, one in enumerate(records_of(GREEDY)[:4]):
        for sampling in KINDS.values():
            asked = one.model_copy(update={"sampling": sampling, "seed": 70 + number, "reasoning": REASONING})
            end = ForcedEnd.of(asked, replayer.tokenizer)
            assert end is not None
            first = server.draw(asked.prompt_token_ids, LIMIT, request_sampling(asked))
            before = [*first[:BUDGET], *end.ids]
            rest = asked.model_copy(update={"output_token_ids": before}).continuation()
            assert rest.sampling.max_tokens == LIMIT - len(before)
            drawn = server.draw(rest.prompt_token_ids, rest.sampling.max_tokens, request_sampling(rest))
            record = ended(asked, [*before, *drawn], Ending("length"), len(end.ids))
            found.append(Record.model_validate(record.model_dump()))
    return found


def test_answers_of_two_requests_are_equal_token_for_token(
    server: VllmClient, policy: Path, answers: list[Record], tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    traffic = written(tmp_path / "t.jsonl", answers)
    result = invoke(server, "run", traffic, "--policy", policy, "--unsafe-unsigned", "--json", report)
    assert result.exit_code == 0, result.output
    found = json.loads(report.read_text())
    assert found["flagged"] == []
    assert found["suspicious"] == found["dangerous"] == 0
    assert found["forced"] == sum(end - start for record in answers for start, end in record.forced())
    assert found["statistics"]["rates"]["mismatch"]["value"] < 0.02


def test_a_lengthened_forced_segment_is_flagged(
    server: VllmClient, policy: Path, answers: list[Record], tmp_path: Path
) -> None:
    """One more token is said to be forced than the end has."""
    lengthened = []
    for record in answers:
        assert record.segments is not None
        sampled, forced, rest = record.segments
        segments = [
            sampled,
            forced.model_copy(update={"tokens": forced.tokens + 1}),
            rest.model_copy(update={"tokens": rest.tokens - 1}),
        ]
        lengthened.append(Record.model_validate(record.model_dump() | {"segments": [s.model_dump() for s in segments]}))
    report = tmp_path / "r.json"
    traffic = written(tmp_path / "t.jsonl", lengthened)
    result = invoke(server, "run", traffic, "--policy", policy, "--unsafe-unsigned", "--json", report)
    assert result.exit_code == 1, result.output
    flagged = json.loads(report.read_text())["flagged"]
    assert len(flagged) == len(lengthened)
    assert all(any(reason.startswith("forced segment: ") for reason in one["reasons"]) for one in flagged)
