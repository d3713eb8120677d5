"""A replay of constrained answers apart from the verifier: llguidance in this process, and whole rows of logits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.grammars.matchers import GrammarMatchers
from weightwarden.logger.record import Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.transformers.replayer import DTYPES

_LIKELY = 4096
"""Number of tokens, the most likely, that top-p is applied to; they hold nearly all of the probability."""


@dataclass(frozen=True)
class Position:
    """A position of an answer, as the engine should have drawn it.

    Attributes:
        served: the answer's token.
        allowed: number of tokens that the grammar allows.
        outside: whether the grammar forbids the answer's token.
        margin: logits by which the answer's token is below the winner of the draw; 0 if it is the winner, inf outside
            the grammar.
        margin_unmasked: the same in a draw without the grammar.
        alternative: another token that the grammar allows, the most likely, or None.
        entropy: bits of the engine's distribution, after grammar and filters.
    """

    served: int
    allowed: int
    outside: bool
    margin: float
    margin_unmasked: float
    alternative: int | None
    entropy: float


class IndependentReplay:
    """A model in whole rows, its tokenizer's grammars, and the draws of one scheme."""

    def __init__(self, identity: ModelIdentity, dtype: str = "float32", scheme: str = "vllm-cpu") -> None:
        transformers.utils.logging.disable_progress_bar()
        self._vocabulary = identity.vocabulary
        self._noise = gumbel_noise(scheme, identity.vocabulary)
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            identity.path, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=True
        ).eval()
        self._matchers = GrammarMatchers(identity)

    def allowed(self, record: Record) -> Iterator[BoolArray]:
        """The allowed tokens [V] of each position, given the answer before it, up to the first token outside."""
        assert record.grammar is not None
        matcher = self._matchers.start(record.grammar)
        for token in record.output_token_ids:
            allowed = self._matchers.allowed(matcher)
            yield allowed
            if not allowed[token] or not matcher.consume_token(token):
                return

    @torch.no_grad()
    def logits(self, record: Record) -> FloatArray:
        """Raw logits of the answer's positions, [m, V]."""
        ids = torch.tensor([[*record.prompt_token_ids, *record.output_token_ids]])
        rows = self._model(ids, logits_to_keep=len(record.output_token_ids) + 1).logits[0, :-1]
        found: FloatArray = rows.double().numpy()
        return found

    def positions(self, record: Record) -> list[Position]:
        """The positions of an answer up to the first token outside its grammar."""
        keys = None if record.sampling.is_greedy else self._noise.keys(
            record.choice_seed(), len(record.prompt_token_ids), len(record.output_token_ids)
        )  # fmt: skip
        found = []
        for at, (row, allowed, served) in enumerate(
            zip(self.logits(record), self.allowed(record), record.output_token_ids, strict=False)
        ):
            noise = np.zeros(self._vocabulary) if keys is None else self._noise.at(
                keys[at : at + 1], np.arange(self._vocabulary)[None]
            )[0]  # fmt: skip
            masked = np.where(allowed, row, -np.inf)
            others = np.flatnonzero(allowed & (np.arange(self._vocabulary) != served))
            found.append(
                Position(
                    served=served,
                    allowed=int(allowed.sum()),
                    outside=not allowed[served],
                    margin=_margin(masked, noise, record, served),
                    margin_unmasked=_margin(row, noise, record, served),
                    alternative=int(others[masked[others].argmax()]) if len(others) else None,
                    entropy=_entropy(masked, record),
                )
            )
        return found


def _inside(row: FloatArray, record: Record) -> BoolArray:
    """The tokens that temperature, top-k and top-p leave."""
    sampling = record.sampling
    inside: BoolArray = np.isfinite(row)
    if sampling.has("top_k"):
        inside &= row >= np.partition(row, -sampling.top_k)[-sampling.top_k]
    if sampling.has("top_p"):
        weights = np.where(inside, np.exp((row - row.max()) / sampling.temperature), 0.0)
        likely = np.argpartition(-weights, _LIKELY)[:_LIKELY]
        likely = likely[np.argsort(-weights[likely], kind="stable")]
        before = np.cumsum(weights[likely]) - weights[likely]
        kept = likely[before < sampling.top_p * weights.sum()]
        inside = np.zeros(len(row), np.bool_)
        inside[kept] = weights[kept] > 0
    return inside


def _margin(row: FloatArray, noise: FloatArray, record: Record, served: int) -> float:
    """Logits by which a token is below the winner. Filters keep the token itself: rounding moves their cuts."""
    if record.sampling.is_greedy:
        return float(row.max() - row[served])
    inside = _inside(row, record)
    inside[served] = True
    score = np.where(inside, row + record.sampling.temperature * noise, -np.inf)
    return float(score.max() - score[served])


def _entropy(row: FloatArray, record: Record) -> float:
    if record.sampling.is_greedy:
        return 0.0
    kept = row[_inside(row, record)] / record.sampling.temperature
    probability = np.exp(kept - kept.max())
    probability /= probability.sum()
    some = probability[probability > 0]
    return float(-(some * np.log2(some)).sum())
