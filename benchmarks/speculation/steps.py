"""Steps of a batch under a rule of acceptance, with the tensors that vLLM's V2 model runner would give it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters, support_of_head
from weightwarden.sampler.types import FloatArray, IntArray

Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of one request.

    Attributes:
        processed_nv: logits [drafts + 1, V] after division by the temperature and the filters; row i follows i drafts.
        drafts: drafted token ids; -1 is none.
        position: position of the last token before the drafts, from 0.
        temperature: the request's temperature.
        seed: its seed.
    """

    processed_nv: Logits
    drafts: Sequence[int]
    position: int
    temperature: float
    seed: int


class Batch:
    """A batch of steps as tensors.

    Args:
        steps: the steps, at least one.
        limit: K, largest number of drafts a step.
        device: torch's name of the device.
    """

    def __init__(self, steps: Sequence[Step], limit: int, device: str) -> None:
        lengths = [len(step.drafts) + 1 for step in steps]
        places = np.arange(len(steps), 0, -1)  # a request's place among all requests is not its place in the batch
        self._limit = limit
        self._first = np.cumsum([0, *lengths])

        def tensor(values: Any, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)

        def by_place(values: Sequence[float], dtype: torch.dtype) -> torch.Tensor:
            table = np.zeros(len(steps) + 2, np.float64 if dtype == torch.float32 else np.int64)
            table[places] = values
            return tensor(table, dtype)

        self._logits = tensor(np.concatenate([step.processed_nv for step in steps]), torch.float32)
        self._inputs = tensor([token for step in steps for token in (0, *step.drafts)], torch.int32)
        self._first_row = tensor(self._first, torch.int32)
        self._position = tensor([step.position + i for step in steps for i in range(len(step.drafts) + 1)], torch.int64)
        self._place = tensor(places, torch.int32)
        self._place_of_row = tensor(np.repeat(places, lengths), torch.int32)
        self._place_in_step = tensor([i for length in lengths for i in range(length)], torch.int32)
        self._temperature = by_place([step.temperature for step in steps], torch.float32)
        self._seed = by_place([step.seed for step in steps], torch.int64)

    def emitted(self, rule: Callable[..., Any], *, use_fp64: bool = False) -> list[list[int]]:
        """The tokens that each step emits under a rule: the accepted drafts, and one token more."""
        sampled, number = rule(
            self._logits,
            None,
            self._inputs,
            self._first_row,
            self._position,
            self._place,
            self._place_of_row,
            self._place_in_step,
            self._temperature,
            self._seed,
            self._limit,
            use_fp64=use_fp64,
        )
        return [row[:n] for row, n in zip(sampled.tolist(), number.tolist(), strict=True)]

    def drawn(self, gumbel_sample: Callable[..., Any], *, use_fp64: bool = False) -> list[list[int]]:
        """The seeded draws of each step's rows, as of a server without speculation."""
        tokens = gumbel_sample(
            self._logits,
            self._place_of_row,
            self._temperature,
            self._seed,
            self._position,
            apply_temperature=False,
            is_drafting=False,
            use_fp64=use_fp64,
        ).tolist()
        return [tokens[begin:end] for begin, end in zip(self._first[:-1], self._first[1:], strict=True)]


def processed(
    logits_nv: Logits, temperature: float, *, top_k: int | None = None, top_p: float = 1.0, min_p: float = 0.0
) -> Logits:
    """Logits [n, V] after division by the temperature and the filters. At temperature 0 they stay as they are."""
    if temperature == 0:
        return logits_nv
    n, vocabulary = logits_nv.shape
    order_nv = np.argsort(-logits_nv, axis=1, kind="stable")
    filters = Filters(
        temperature_n=np.full(n, temperature),
        top_k_n=np.full(n, vocabulary if top_k is None else top_k),
        top_p_n=np.full(n, top_p),
        min_p_n=np.full(n, min_p),
    )
    descending_nv = np.take_along_axis(logits_nv, order_nv, 1).astype(np.float64)
    kept_nv = np.empty(logits_nv.shape, np.bool_)
    np.put_along_axis(kept_nv, order_nv, support_of_head(descending_nv, filters, None, np.zeros(1)).nominal_nk, 1)
    return np.where(kept_nv, logits_nv / np.float32(temperature), np.float32(-np.inf))


def plain_draws(step: Step, scheme: str = "vllm-v2") -> IntArray:
    """The seeded draws [drafts + 1] of a step's rows, by the project's own noise. At temperature 0 the argmax."""
    rows, vocabulary = step.processed_nv.shape
    score_nv: FloatArray = step.processed_nv.astype(np.float64)
    if step.temperature != 0:
        noise = gumbel_noise(scheme, vocabulary)
        keys_n = noise.keys(step.seed, step.position + 1, rows)
        score_nv += noise.at(keys_n, np.tile(np.arange(vocabulary), (rows, 1)))
    drawn_n: IntArray = score_nv.argmax(axis=1)
    return drawn_n
