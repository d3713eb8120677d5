"""Where the sidecar ends an answer or its reasoning, the verifier finds nothing; on random answers, however split."""

import asyncio
import random
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.verifier.verification.forced_answers import Characters, FormulaReplayer
from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.drawn_answer import DrawnAnswer
from weightwarden.logger.sidecar.log.recorder import ended
from weightwarden.logger.sidecar.upstream.client import UpstreamDelta
from weightwarden.logger.text.ending import Ending
from weightwarden.verifier.scoring.stopping import ForcedEndLimits, StoppingRule

RULE = StoppingRule(
    identity=FormulaReplayer.identity,
    tokenizer=Characters(),
    max_model_length=None,
    forced_end=ForcedEndLimits(1.0, 0.001),
)
PIECES = ["a", "b", ".", " ", "\n", "<think>", "</think>", "</thi", "<", "END", "\n\n"]
EOS = 2


class RandomServer:
    """A server that draws pieces of text, an honest end now and then, and sends tokens in random numbers."""

    def __init__(self, seed: int, split: int) -> None:
        self._seed, self._split = seed, random.Random(split)
        self.asked: list[Record] = []

    async def draw(self, request: Record, _cache_salt: str | None) -> AsyncGenerator[UpstreamDelta]:
        self.asked.append(request)
        text = random.Random(f"{self._seed} {request.prompt_token_ids}")
        limit = request.sampling.max_tokens or 0
        ids: list[int] = []
        while len(ids) < limit:
            ids += [ord(one) for one in text.choice(PIECES)] if text.random() < 0.98 else [EOS]
        ids = ids[:limit]
        end = next((at + 1 for at in range(request.sampling.min_tokens, len(ids)) if ids[at] == EOS), len(ids))
        sent, ids = 0, ids[:end]
        while sent < len(ids):
            size = self._split.randint(1, 12)
            stopped: Any = None if sent + size < len(ids) else ("stop" if ids[-1] == EOS else "length")
            yield UpstreamDelta(ids[sent : sent + size], stopped)
            sent += size


def asked(seed: int) -> Record:
    rng = random.Random(seed)
    end = rng.choice(["</think>", "\n</think>\n\n", "Enough.</think>"])
    budget = rng.choice([None, 1, 5, 12, 30])
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-cpu"},
            "model": "small",
            "prompt_token_ids": [90, rng.randrange(32, 100)],
            "output_token_ids": [],
            "seed": seed,
            "choice_index": 0,
            "sampling": {
                "max_tokens": rng.choice([8, 20, 60]),
                "min_tokens": rng.choice([0, 0, 3, 15]),
                "stop": rng.choice([[], ["."], ["\n\n"], ["END", "b"]]),
                "include_stop_str_in_output": rng.random() < 0.3,
            },
            "finish_reason": "abort",
            "stop_reason": "logger",
            "reasoning": {
                "start": rng.choice(["", "<think>"]),
                "end": "</think>",
                "stops_inside": rng.random() < 0.3,
                "budget": budget,
                "forced_end": None if budget is None else end,
            },
        }
    )


def answered(request: Record, seed: int, split: int) -> tuple[Record, str, RandomServer]:
    """The record of an answer, its text, and the server."""
    server = RandomServer(seed, split)
    model: Any = SimpleNamespace(tokenizer=Characters(), eos_ids=frozenset({EOS}))
    answer = DrawnAnswer(model, server, request)  # type: ignore[arg-type]
    text: list[str] = []

    async def run() -> Ending:
        ending = None
        async for part in answer.parts():
            assert len(part.pieces) == len(part.ids)
            text.extend(part.pieces)
            ending = part.ending
        assert ending is not None
        return ending

    ending = asyncio.run(run())
    record = ended(request, answer.ids, ending, answer.forced)
    return Record.model_validate(record.model_dump()), "".join(text) + answer.text.rest(), server


@pytest.mark.parametrize("block", range(8))
def test_the_verifier_finds_every_answer_ended_as_the_sidecar_ended_it(block: int) -> None:
    forced = after_stops = 0
    for seed in range(1000 * block, 1000 * block + 60):
        request = asked(seed)
        record, text, server = answered(request, seed, 0)
        assert RULE.findings(record, 0.0) == []
        assert RULE.forced_finding(record) is None
        for split in (1, 2):
            again, same, _ = answered(request, seed, split)
            assert (again, same) == (record, text)
        if record.segments is None:
            assert len(server.asked) == 1
            continue
        forced += 1
        after_stops += record.finish_reason == "stop"
        (start, end), *_ = record.forced()
        if end < len(record.output_token_ids):
            first, second = server.asked
            assert first == request
            assert second.prompt_token_ids == [*record.prompt_token_ids, *record.output_token_ids[:end]]
            assert second.sampling.max_tokens == (record.sampling.max_tokens or 0) - end
            assert second.choice_seed() == record.choice_seed()
        # An answer of the same tokens by a sidecar that forces nothing, and one that forces later, are no such answer.
        plain = record.model_copy(update={"segments": None})
        assert RULE.forced_finding(plain) is not None
        unforced = record.output_token_ids[start:end]
        swapped = [*record.output_token_ids[:start], *unforced[1:], unforced[0], *record.output_token_ids[end:]]
        if swapped != record.output_token_ids:
            assert RULE.forced_finding(record.model_copy(update={"output_token_ids": swapped})) is not None
    assert forced > 5
    assert after_stops > 0
