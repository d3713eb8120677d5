"""Answers of two requests at a replay server: each is scored and drawn again by itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.verifier.probe.formula import ByteTokenizer
from tests.verifier.replay.vllm.small_server import EOS, IDENTITY, Behaviour, draw, small_server
from tests.verifier.replay.vllm.test_replayer import greedy_policy
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.verification.run_verdict import Verification
from weightwarden.verifier.verification.verifier import Verifier

BUDGET, REST, END = 8, 10, "\n</think>\n\n"
PROMPT = [5, 6, 9]


class Bytes(ByteTokenizer):
    """Bytes are the tokens, and an answer is read byte by byte."""

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        del sampling, prompt
        return _ByBytes()


class _ByBytes:
    def add(self, token: int) -> str:
        return Bytes().token_text(token)

    def end(self) -> str:
        return ""


@contextmanager
def verifier(behaviour: Behaviour) -> Iterator[Verifier]:
    policy = greedy_policy()
    with small_server(behaviour) as url, VllmClient(url, timeout=20) as client:
        some = VllmReplayer(client, IDENTITY, Bytes(), policy=policy, dtype="bfloat16", redraw=True, concurrency=4)
        yield Verifier(some, policy)


def forced_answer(seed: int) -> Record | None:
    """An answer with a forced end; None where a request of it meets an end by itself."""
    sampling = SamplingParams(min_tokens=BUDGET + 2)
    ends = Bytes().encode_answer(END)
    before = [*draw(PROMPT, seed, BUDGET, sampling, stops=False), *ends]
    rest = draw([*PROMPT, *before], seed, REST, sampling, stops=False)
    ids = [*before, *rest]
    if EOS in ids:
        return None
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-cpu"},
            "model": "small",
            "prompt_token_ids": PROMPT,
            "output_token_ids": ids,
            "seed": seed,
            "choice_index": 0,
            "sampling": sampling.model_dump() | {"max_tokens": len(ids)},
            "finish_reason": "length",
            "stop_reason": None,
            "reasoning": {"start": "", "end": "</think>", "budget": BUDGET, "forced_end": END},
            "segments": [
                {"kind": "sampled", "tokens": BUDGET},
                {"kind": "forced", "tokens": len(ends)},
                {"kind": "sampled", "tokens": REST},
            ],
        }
    )


@pytest.fixture(scope="module")
def answers() -> list[Record]:
    found = [forced_answer(seed) for seed in range(12)]
    return [one for one in found if one is not None]


def verified(records: Sequence[Record], behaviour: Behaviour) -> Verification:
    with verifier(behaviour) as some:
        return some.verify(records)


def test_honest_answers_of_two_requests_are_equal_token_for_token(answers: list[Record]) -> None:
    behaviour = Behaviour()
    found = verified(answers, behaviour)
    assert len(answers) > 6
    assert found.exact_match_rate == 1.0
    assert not found.flagged
    scored = [body["prompt"] for body in behaviour.asked if body.get("prompt_logprobs")]
    for one in answers:
        for _, request in one.requests():
            assert [*request.prompt_token_ids, *request.output_token_ids] in scored


@pytest.mark.parametrize("at", [BUDGET // 2, BUDGET + len(END) + REST // 2])
def test_a_token_altered_in_either_request_is_found_by_drawing_that_request_again(
    answers: list[Record], at: int
) -> None:
    altered, behaviour = [], Behaviour()
    for one in answers:
        output = list(one.output_token_ids)
        output[at] = 700 if output[at] != 700 else 701
        altered.append(one.model_copy(update={"output_token_ids": output}))
    found = verified(altered, behaviour)
    assert len(found.flagged) == len(altered)
    drawn = [body for body in behaviour.asked if body.get("return_token_ids")]
    assert {len(body["prompt"]) for body in drawn} >= {len(PROMPT) + (at >= BUDGET) * (BUDGET + len(END))}
    assert all(body["min_tokens"] <= body["max_tokens"] for body in drawn)
