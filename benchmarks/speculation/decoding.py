"""Decoding with drafts and without, by a model with a cache of keys and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers

from benchmarks.speculation.engine_kernels import EngineKernels
from benchmarks.speculation.steps import Batch, Logits, Step, plain_draws, processed
from weightwarden.sampler.params import SamplingParams


class Target:
    """A causal language model whose context grows by tokens, and whose last tokens can be taken back.

    Args:
        folder: the model's folder.
        vocabulary: tokens that are allowed, from id 0.
        device: torch's name of the device.
    """

    def __init__(self, folder: Path, vocabulary: int, device: str) -> None:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        self._model, self._vocabulary, self._device = model.to(device).eval(), vocabulary, device
        self._cache = transformers.DynamicCache()

    def begin(self, prompt: Sequence[int]) -> None:
        """Begin anew, with all tokens of a prompt but the last as the context."""
        self._cache = transformers.DynamicCache()
        if len(prompt) > 1:
            self.logits(prompt[:-1])

    @torch.inference_mode()
    def logits(self, tokens: Sequence[int]) -> Logits:
        """Logits [tokens, V] after each of these tokens, which join the context."""
        ids = torch.tensor([list(tokens)], device=self._device)
        output = self._model(ids, past_key_values=self._cache, use_cache=True)
        rows: Logits = output.logits[0, :, : self._vocabulary].float().cpu().numpy()
        return rows

    def take_back(self, count: int) -> None:
        """Take the last tokens of the context back."""
        if count:
            self._cache.crop(-count)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request.

    Attributes:
        prompt: token ids.
        tokens: length of the answer.
        sampling: temperature and filters.
        seed: seed of the answer.
    """

    prompt: Sequence[int]
    tokens: int
    sampling: SamplingParams
    seed: int

    def step(self, logits_nv: Logits, drafts: Sequence[int], position: int) -> Step:
        """A step of this request at raw logits [drafts + 1, V]."""
        sampling = self.sampling
        top_k = sampling.top_k if sampling.top_k > 0 else None
        return Step(
            processed_nv=processed(logits_nv, sampling.temperature, top_k=top_k, top_p=sampling.top_p),
            drafts=drafts,
            position=position,
            temperature=sampling.temperature,
            seed=self.seed,
        )


@dataclass(kw_only=True)
class Counts:
    """Counts of a speculative answer.

    Attributes:
        tokens: its tokens.
        steps: steps of the target model.
        drafted: drafted tokens.
        accepted: those that the plugin accepted.
        accepted_by_stock: those that the stock rule accepts in the same steps.
        altered_by_stock: steps in which the stock rule emits a token that the seed does not draw.
    """

    tokens: list[int] = field(default_factory=list)
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    accepted_by_stock: int = 0
    altered_by_stock: int = 0


Drafter = Callable[[Target, Sequence[int], int], list[int]]
"""Drafted tokens from the model, all tokens so far, and their largest number. The model's context stays as it is: all
tokens but the last."""


def likeliest_continuation(target: Target, tokens: Sequence[int], limit: int) -> list[int]:
    """The target model's own most likely tokens: the drafts of the best draft model that samples greedily."""
    drafts: list[int] = []
    for _ in range(limit):
        drafts.append(int(target.logits([[*tokens, *drafts][-1]])[0].argmax()))
    target.take_back(limit)
    return drafts


def repeated_text(target: Target, tokens: Sequence[int], limit: int, *, longest: int = 4) -> list[int]:
    """Tokens that followed the last occurrence of the longest possible end, like drafts from n-grams."""
    for length in range(min(longest, len(tokens) - 1), 0, -1):
        end = list(tokens[-length:])
        for begin in range(len(tokens) - length - 1, -1, -1):
            if list(tokens[begin : begin + length]) == end:
                return list(tokens[begin + length : begin + length + limit])
    return []


def plain_answer(target: Target, request: Request) -> list[int]:
    """The answer without speculation, drawn by the project's own noise."""
    tokens = list(request.prompt)
    target.begin(tokens)
    for _ in range(request.tokens):
        step = request.step(target.logits(tokens[-1:]), [], len(tokens) - 1)
        tokens.append(int(plain_draws(step)[0]))
    return tokens[len(request.prompt) :]


def speculative_answer(
    target: Target, kernels: EngineKernels, request: Request, drafter: Drafter, limit: int, device: str
) -> Counts:
    """The answer with speculation under the plugin's rule. The stock rule judges the same steps, without effect."""
    counts, tokens = Counts(), list(request.prompt)
    end = len(tokens) + request.tokens
    target.begin(tokens)
    while len(tokens) < end:
        drafts = drafter(target, tokens, limit)
        step = request.step(target.logits([tokens[-1], *drafts]), drafts, len(tokens) - 1)
        batch = Batch([step], limit, device)
        emitted, stock = _only(batch.emitted(kernels.coupled)), _only(batch.emitted(kernels.stock))
        target.take_back(len(drafts) + 1 - len(emitted))
        tokens += emitted
        counts.steps += 1
        counts.drafted += len(drafts)
        counts.accepted += len(emitted) - 1
        counts.accepted_by_stock += len(stock) - 1
        counts.altered_by_stock += not np.array_equal(stock, plain_draws(step)[: len(stock)])
    counts.tokens = tokens[len(request.prompt) : end]
    return counts


def _only(rows: list[list[int]]) -> list[int]:
    [row] = rows
    return row
