"""Engines as docs/sampling.md describes them, drawing from known logits token by token; and a replayer of those logits.

Written from the page, over the whole vocabulary, with the scalar noise of `tests.sampler.scalar_noise`: nothing of what
the verifier uses.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.sampler import scalar_noise
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.types import RowSpan, Tokenizer

Logits = NDArray[np.float32]
V = 200
LENGTH = 16


class NoText:
    """A tokenizer for answers without text rules."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Nothing."""
        del text, add_special_tokens
        return []

    def encode_answer(self, text: str) -> list[int]:
        raise NotImplementedError("no text here")

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        """None: no record here has stop strings."""
        raise NotImplementedError

    def token_text(self, token: int) -> str:
        """Nothing."""
        del token
        return ""


class KnownReplayer:
    """Replays records whose first prompt token says which of the given logits they were drawn from."""

    implementation = "known"
    dtype = "float32"
    device = "cpu"
    concurrency = 1
    unit_tokens = 4096

    def __init__(self, logits_rnv: FloatArray | Logits) -> None:
        self.logits = logits_rnv
        self.identity = ModelIdentity(
            path=Path(),
            digest="sha256:" + "0" * 64,
            vocabulary=logits_rnv.shape[2],
            context_length=None,
            eos_ids=(),
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """None needed."""
        return NoText()

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        """One record each."""
        return [[index] for index in range(len(records))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        """Its logits."""
        for index in batch:
            count = len(records[index].output_token_ids)
            rows = self.logits[records[index].prompt_token_ids[0], :count].astype(np.float32)
            yield ReplayChunk(
                TorchRows(torch.from_numpy(rows.copy())), [RowSpan(record=index, start=0, row=0, count=count)]
            )

    def known_answer(self) -> None:
        """None."""

    def close(self) -> None:
        """Nothing to close."""


def softmax(x: Logits) -> Logits:
    """In float32."""
    weights = np.exp(x - x.max(), dtype=np.float32)
    p: Logits = (weights / weights.sum(dtype=np.float32)).astype(np.float32)
    return p


def vllm_filtered(x: Logits, sampling: dict[str, Any]) -> Logits:
    """min-p, then top-k, then top-p of what is left, on logits / temperature (docs/sampling.md, sections 6.1, 6.2)."""
    x = x.copy()
    if sampling.get("min_p"):
        p = softmax(x)
        x[p < np.float32(sampling["min_p"]) * p.max()] = -np.inf
    if sampling.get("top_k"):
        x[x < np.sort(x)[-sampling["top_k"]]] = -np.inf
    if sampling.get("top_p", 1.0) < 1:
        order = np.argsort(x)
        below = np.cumsum(softmax(x)[order], dtype=np.float32)
        removed = below <= np.float32(1) - np.float32(sampling["top_p"])
        removed[-1] = False
        x[order[removed]] = -np.inf
    return x


def log_error(exponential: FloatArray) -> FloatArray:
    """What the engine's logarithm may be off by: as documented, and near 1 twice what an H100 shows."""
    return np.where(exponential <= 2.0**-7, 1e-7, 3.6e-7)


def cuda_token(x: Logits, seed: int, step: int, noise: Callable[[int, int, int, int], float], share: FloatArray) -> int:
    """argmax of p / E, E with that share of the error that its logarithm may have."""
    exponential = np.exp([-noise(seed, step, token, len(x)) for token in range(len(x))])
    erring = exponential > 1.5 * 2**-24  # below is the engine's constant
    exponential = np.maximum(exponential + np.where(erring, share * log_error(exponential), 0.0), 1e-30)
    return int((softmax(x) / exponential.astype(np.float32)).argmax())


def sglang_adjusted(x: Logits, said: list[int], sampling: dict[str, Any]) -> Logits:
    """Additive penalties, the repetition penalty of the output, then bias."""
    counts = np.bincount(np.array(said, np.int64), minlength=len(x)).astype(np.float32)
    x = x - np.float32(sampling.get("frequency_penalty", 0)) * counts
    x = x - np.float32(sampling.get("presence_penalty", 0)) * (counts > 0).astype(np.float32)
    penalty = np.float32(sampling.get("repetition_penalty", 1))
    x = np.where((counts > 0) & (x > 0), x / penalty, np.where(counts > 0, x * penalty, x)).astype(np.float32)
    for token, bias in sampling.get("logit_bias", {}).items():
        x[token] += np.float32(bias)
    return x


def sglang_token(
    x: Logits, seed: int, position: int, sampling: dict[str, Any], *, ranked: bool, rng: np.random.Generator
) -> int:
    """argmax of ln p + noise; of sorted probabilities where ranked, ties in any order."""
    p = softmax(x / np.float32(sampling.get("temperature", 1)))
    order = np.arange(len(p))
    if ranked:
        shuffled = rng.permutation(len(p))
        order = shuffled[np.argsort(-p[shuffled], kind="stable")]
    column = p[order].copy()
    above = np.cumsum(column, dtype=np.float32) - column
    if sampling.get("top_k"):
        column[sampling["top_k"] :] = 0
    column[above > np.float32(sampling.get("top_p", 1.0))] = 0
    with np.errstate(divide="ignore"):
        scores = np.log(column).astype(np.float64)
    scores += [scalar_noise.sglang(seed, position, i) for i in range(len(p))]
    return int(order[scores.argmax()])


def one_hot_token(x: Logits, seed: int, position: int, draft: int | None) -> int:
    """The token that vLLM emits at one position, with or without a drafted token (docs/sampling.md, section 4.9)."""
    scores = x.astype(np.float64) + [scalar_noise.vllm_v2(seed, position, token) for token in range(len(x))]
    if draft is None:
        return int(scores.argmax())
    if softmax(x)[draft] > scalar_noise.triton_uniform(seed, position):
        return draft
    scores[draft] = -np.inf
    return int(scores.argmax())


def some_draft(x: Logits, rng: np.random.Generator) -> int | None:
    """No draft, the likeliest token, one of the five likeliest, or any."""
    kind = rng.integers(4)
    if kind == 0:
        return None
    if kind == 3:
        return int(rng.integers(len(x)))
    return int(np.argsort(-x)[0 if kind == 1 else rng.integers(5)])


def answer(
    scheme: str, logits_nv: Logits, number: int, seed: int, sampling: dict[str, Any], rng: np.random.Generator
) -> Record:
    """The record of an honest answer of that engine; `number` says which logits, and how long the prompt is."""
    prompt, choice = [number, *[1] * (number % 5)], sampling.get("n", 1) - 1
    said: list[int] = []
    for step, raw in enumerate(logits_nv):
        position = len(prompt) - 1 + step
        if scheme.startswith("sglang"):
            x = sglang_adjusted(raw, said, sampling)
            said.append(sglang_token(x, seed, position, sampling, ranked=scheme == "sglang-ranked", rng=rng))
            continue
        x = vllm_filtered(raw / np.float32(sampling.get("temperature", 1)), sampling)
        if scheme == "vllm-v2-one-hot":
            said.append(one_hot_token(x, seed + choice, position, some_draft(x, rng)))
        elif scheme == "vllm-v1":
            share = rng.uniform(-1, 1, len(x))
            said.append(cuda_token(x, seed + choice, step, scalar_noise.vllm_v1, share))
        elif scheme == "vllm-v1-fp64":
            said.append(cuda_token(x, seed + choice, step, scalar_noise.vllm_v1_fp64, np.zeros(len(x))))
        else:
            noise = [scalar_noise.vllm_v2_fp64(seed + choice, position, token) for token in range(len(x))]
            said.append(int((x.astype(np.float64) + noise).argmax()))
    return Record.model_validate(
        {
            "engine": {"name": "engine", "version": "1", "sampler": scheme},
            "model": "known",
            "prompt_token_ids": prompt,
            "output_token_ids": said,
            "seed": seed,
            "choice_index": choice,
            "sampling": {"max_tokens": len(said), **sampling},
            "finish_reason": "length",
            "stop_reason": None,
        }
    )


def known_logits(records: int, seed: int, *, vocabulary: int = V, length: int = LENGTH) -> Logits:
    """Logits [records, length, V] as a bfloat16 head has them: with many exact ties."""
    raw = np.random.default_rng(seed).normal(0, 2.5, (records, length, vocabulary)).astype(np.float32)
    return torch.from_numpy(raw).bfloat16().float().numpy()
