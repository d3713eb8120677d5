"""Answers with a forced end of their reasoning, drawn request by request from a formula, and a replayer of it.

The draws are written from docs/sampling.md with the noise of torch itself and of `tests.sampler.scalar_noise`: nothing
of what the verifier uses. A token is the character of its number.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.sampler import scalar_noise
from tests.verifier.candidates.engine_samplers import Logits, sglang_adjusted, sglang_token, vllm_filtered
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.types import RowSpan

V = 128
EOS = 2
BUDGET, REST = 7, 9
END = "\n</think>\n\n"
SCHEMES = ("vllm-cpu", "vllm-v1-cpu", "vllm-v1-fp64", "vllm-v2-fp64", "sglang", "greedy")


class Characters:
    """A tokenizer whose tokens are characters."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        del add_special_tokens
        return [ord(character) for character in text]

    def encode_answer(self, text: str) -> list[int]:
        return self.encode(text, add_special_tokens=False)

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        del sampling, prompt
        return _Spelled()

    def token_text(self, token: int) -> str:
        return chr(token)


class _Spelled:
    def add(self, token: int) -> str:
        return chr(token)

    def end(self) -> str:
        return ""


@functools.lru_cache(maxsize=8192)
def _logits_of(last: tuple[int, ...]) -> Logits:
    seed = hashlib.sha256(str(last).encode()).digest()
    raw = np.random.default_rng(list(seed)).normal(0, 2.5, V).astype(np.float32)
    raw[EOS] = raw[ord("<")] = -30.0  # no answer ends, or ends its reasoning, by itself
    return torch.from_numpy(raw).bfloat16().float().numpy()


def logits_after(token_ids: Sequence[int]) -> Logits:
    """bfloat16 logits [V] after some tokens."""
    return _logits_of(tuple(token_ids[-3:]))


class FormulaReplayer:
    """A replayer of the formula. It counts the tokens of the requests that it is given."""

    implementation, dtype, device, concurrency, unit_tokens = "formula", "float32", "cpu", 1, 1024
    tokenizer = Characters()
    identity = ModelIdentity(
        path=Path(), digest="sha256:" + "7" * 64, vocabulary=V, context_length=4096, eos_ids=(EOS,), dtype="float32"
    )

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        return [[index] for index in range(len(records))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        (index,) = batch
        prompt, output = records[index].prompt_token_ids, records[index].output_token_ids
        rows = np.stack([logits_after([*prompt, *output[:t]]) for t in range(len(output))])
        span = RowSpan(record=index, start=0, row=0, count=len(output))
        yield ReplayChunk(TorchRows(torch.from_numpy(rows)), [span])

    def known_answer(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def _adjusted(x: Logits, prompt: Sequence[int], output: list[int], sampling: dict[str, Any]) -> Logits:
    """vLLM's minimum length and penalties: of prompt and output together, and of the output alone."""
    x = x.copy()
    if len(output) < sampling.get("min_tokens", 0):
        x[[EOS, *sampling.get("stop_token_ids", [])]] = -np.inf
    seen = np.zeros(V, np.bool_)
    seen[[*prompt, *output]] = True
    penalty = np.float32(sampling.get("repetition_penalty", 1))
    x = np.where(seen & (x > 0), x / penalty, np.where(seen, x * penalty, x)).astype(np.float32)
    counts = np.bincount(np.array(output, np.int64), minlength=V).astype(np.float32)
    x = x - np.float32(sampling.get("frequency_penalty", 0)) * counts
    return (x - np.float32(sampling.get("presence_penalty", 0)) * (counts > 0)).astype(np.float32)


def _split_mix(step_seed: int) -> FloatArray:
    """Noise of vLLM's CPU kernel at one step, in exact integers."""

    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    key = mix(step_seed)
    bits = [mix((key + (token + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 11 for token in range(V)]
    return -np.log(-np.log((np.array(bits) + 0.5) * 2.0**-53))


def drawn(scheme: str, prompt: Sequence[int], seed: int, count: int, sampling: dict[str, Any]) -> list[int]:
    """The tokens of one request."""
    generator = torch.Generator().manual_seed(seed % 2**64)
    output: list[int] = []
    for step in range(count):
        raw, position = logits_after([*prompt, *output]), len(prompt) - 1 + step
        if scheme == "sglang":
            x = sglang_adjusted(raw, output, sampling)
            output.append(sglang_token(x, seed, position, sampling, ranked=False, rng=np.random.default_rng(0)))
            continue
        x = _adjusted(raw, prompt, output, sampling)
        if scheme == "greedy":
            output.append(int(x.argmax()))
            continue
        x = vllm_filtered(x / np.float32(sampling.get("temperature", 1)), sampling).astype(np.float64)
        if scheme == "vllm-cpu":
            noise = _split_mix(int(torch.randint(0, 2**31, (1,), generator=generator, dtype=torch.int64)))
        elif scheme == "vllm-v1-cpu":
            noise = -np.log(torch.empty(V).exponential_(generator=generator).double().numpy())
        elif scheme == "vllm-v1-fp64":
            noise = np.array([scalar_noise.vllm_v1_fp64(seed, step, token, V) for token in range(V)])
        else:
            noise = np.array([scalar_noise.vllm_v2_fp64(seed, position, token) for token in range(V)])
        output.append(int((x + noise).argmax()))
    return output


def forced_answer(
    scheme: str,
    number: int,
    *,
    forced: Sequence[int] | None = None,
    rest: int = REST,
    end: str = END,
    stop: Sequence[str] = (),
    **sampling: Any,
) -> Record:
    """The record of an answer whose reasoning was ended at its budget.

    Args:
        forced: the forced tokens; None for those of the end.
        rest: number of tokens after them.
        end: the end that the request demands.
    """
    rng = np.random.default_rng([3, number])
    prompt, seed = rng.integers(32, 120, 3 + number % 5).tolist(), 1000 + number
    tokens = Characters().encode_answer(end) if forced is None else list(forced)
    if scheme == "greedy":
        sampling = {**sampling, "temperature": 0.0}
    first = drawn(scheme, prompt, seed, BUDGET, sampling)
    before = [*first, *tokens]
    fewer = {**sampling, "min_tokens": max(0, sampling.get("min_tokens", 0) - len(before))}
    last = drawn(scheme, [*prompt, *before], seed, rest, fewer)
    kinds = [("sampled", BUDGET), ("forced", len(tokens)), ("sampled", rest)]
    return Record.model_validate(
        {
            "engine": {"name": "engine", "version": "1", "sampler": scheme},
            "model": "formula",
            "prompt_token_ids": prompt,
            "output_token_ids": [*before, *last],
            "seed": None if scheme == "greedy" else seed,
            "choice_index": 0,
            "sampling": {"max_tokens": len(before) + rest, "stop": list(stop), **sampling},
            "finish_reason": "length",
            "stop_reason": None,
            "reasoning": {"start": "", "end": "</think>", "budget": BUDGET, "forced_end": end},
            "segments": [{"kind": kind, "tokens": count} for kind, count in kinds if count],
        }
    )


def plain_answer(scheme: str, number: int, count: int = 20, **sampling: Any) -> Record:
    """The record of an answer without reasoning."""
    one = forced_answer(scheme, number, **sampling)
    ids = drawn(scheme, one.prompt_token_ids, 1000 + number, count, one.sampling.model_dump(exclude_unset=True))
    fields = {"output_token_ids": ids, "reasoning": None, "segments": None}
    limit = {"sampling": one.sampling.model_dump() | {"max_tokens": count}}
    return Record.model_validate(one.model_dump() | fields | limit)
