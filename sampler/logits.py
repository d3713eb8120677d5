"""Adjustments of logits before the temperature (bias, masks, penalties), for the touched tokens only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import FloatArray, IntArray

MAX_BIAS = 100.0
"""Largest absolute bias. vLLM clamps every logit bias to [-100, 100] (docs/sampling.md, section 6.1)."""
SIGN_UNSURE = 0.5
"""Absolute logit below which an error may change the sign, on which a repetition penalty depends."""


@dataclass(frozen=True, kw_only=True)
class LogitAdjustment:
    """The adjustments of one choice, numerically equal to the engine's, for the token ids that they touch.

    vLLM's order (docs/sampling.md, section 6.1): bad words, min tokens and allowed tokens as -inf masks, bias, then
    repetition, frequency and presence penalties, in float32. SGLang's order (docs/sampling.md, section 5): frequency
    and presence penalties, the repetition penalty, which sees the output only, then bias. All other tokens keep their
    raw logits.

    Attributes:
        params: sampling parameters.
        prompt_ids: the whole prompt.
        output_ids: the whole claimed output; a position sees the output before it.
        stop_ids: ids that `min_tokens` masks: requested stop ids and the model's end-of-sequence ids.
        bad_word_ids: each bad word as token ids of the engine's tokenizer.
        order: engine whose order of adjustments applies.
        touched_ids: ids whose logits may change, int64 [u].
    """

    params: SamplingParams
    prompt_ids: Sequence[int]
    output_ids: Sequence[int]
    stop_ids: Sequence[int] = ()
    bad_word_ids: Sequence[Sequence[int]] = ()
    order: Literal["vllm", "sglang"] = "vllm"
    touched_ids: IntArray = field(init=False)

    def __post_init__(self) -> None:
        touched: set[int] = set(self.params.logit_bias)
        touched.update(word[-1] for word in self.bad_word_ids)
        if self.params.min_tokens:
            touched.update(self.stop_ids)
        if self.params.has_penalties:
            touched.update(self.output_ids)
            if self.params.repetition_penalty != 1.0 and self.order == "vllm":
                touched.update(self.prompt_ids)
        object.__setattr__(self, "touched_ids", np.array(sorted(touched), dtype=np.int64))

    @property
    def allowed_ids(self) -> IntArray | None:
        """The ids that may be drawn, or None when all may."""
        allowed = self.params.allowed_token_ids
        return None if allowed is None else np.array(sorted(set(allowed)), dtype=np.int64)

    @property
    def is_identity(self) -> bool:
        """True if every logit stays unchanged."""
        return not len(self.touched_ids) and self.params.allowed_token_ids is None

    def adjusted(self, start: int, raw_nu: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjusted logits [n, u] of the touched ids at output positions start, start + 1, ...

        Args:
            start: first output position.
            raw_nu: raw logits of `touched_ids` at those positions, float32 [n, u].
        """
        logits = raw_nu.astype(np.float32, copy=True)
        if self.order == "vllm":
            logits = self._penalised(start, self._biased(logits, MAX_BIAS))
        else:
            logits = self._biased(self._penalised(start, logits), np.inf)
        logits[self._masked(start, len(logits))] = -np.inf
        return logits

    def slopes(self, start: int, raw_nu: NDArray[np.float32]) -> FloatArray:
        """The factors from an error of each raw logit to the error of its adjusted logit, float64 [n, u].

        Bias and subtracted penalties shift a logit: factor 1. A repetition penalty r divides a positive logit, factor 1
        / r, and multiplies a negative one, factor r. A logit with an unsure sign has the larger of the two.

        Args:
            start: first output position.
            raw_nu: raw logits of `touched_ids` at those positions, float32 [n, u].
        """
        penalty = self.params.repetition_penalty
        if penalty == 1.0:
            return np.ones(raw_nu.shape)
        counts = self._counts_before(start, len(raw_nu))
        if self.order == "vllm":
            penalised = self._biased(raw_nu, MAX_BIAS)
        else:
            penalised = self._additively_penalised(raw_nu, counts)
        slopes = np.where(penalised > 0, 1 / penalty, penalty)
        slopes[np.abs(penalised) <= SIGN_UNSURE] = self.steepest
        return np.where(self._repeated(counts), slopes, 1.0)

    @property
    def steepest(self) -> float:
        """Upper bound of all slopes."""
        return max(self.params.repetition_penalty, 1 / self.params.repetition_penalty)

    def _biased(self, logits_nu: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
        if not self.params.logit_bias:
            return logits_nu
        bias = np.array([self.params.logit_bias.get(int(i), 0.0) for i in self.touched_ids], dtype=np.float32)
        return logits_nu + np.clip(bias, np.float32(-limit), np.float32(limit))

    def _penalised(self, start: int, logits_nu: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.params.has_penalties:
            return logits_nu
        counts = self._counts_before(start, len(logits_nu))
        if self.order == "sglang":
            return self._repetition_penalised(self._additively_penalised(logits_nu, counts), self._repeated(counts))
        return self._additively_penalised(self._repetition_penalised(logits_nu, self._repeated(counts)), counts)

    def _repeated(self, counts_nu: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Mask [n, u] of the touched ids that the repetition penalty counts as repeated."""
        if self.order == "sglang":
            return counts_nu > 0
        return (counts_nu > 0) | np.isin(self.touched_ids, np.asarray(self.prompt_ids))[None, :]

    def _repetition_penalised(
        self, logits_nu: NDArray[np.float32], repeated_nu: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        penalty = np.float32(self.params.repetition_penalty)
        penalised = np.where(logits_nu > 0, logits_nu / penalty, logits_nu * penalty)
        return np.where(repeated_nu, penalised, logits_nu)

    def _additively_penalised(
        self, logits_nu: NDArray[np.float32], counts_nu: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        logits_nu = logits_nu - np.float32(self.params.frequency_penalty) * counts_nu.astype(np.float32)
        return logits_nu - np.float32(self.params.presence_penalty) * (counts_nu > 0).astype(np.float32)

    def _counts_before(self, start: int, rows: int) -> NDArray[np.int32]:
        """Occurrences [n, u] of each touched id in the output before each position."""
        output = np.asarray(self.output_ids[: start + rows], dtype=np.int64)
        columns = np.searchsorted(self.touched_ids, output)
        added = np.zeros((rows, len(self.touched_ids)), np.int32)
        np.add.at(added[0], columns[:start], 1)
        np.add.at(added, (np.arange(1, rows), columns[start : start + rows - 1]), 1)
        counts: NDArray[np.int32] = np.cumsum(added, axis=0, dtype=np.int32)
        return counts

    def _masked(self, start: int, rows: int) -> NDArray[np.bool_]:
        """Mask [n, u] of the touched ids that are set to -inf."""
        masked = np.zeros((rows, len(self.touched_ids)), dtype=np.bool_)
        if start < self.params.min_tokens:
            stops = np.isin(self.touched_ids, np.asarray(list(self.stop_ids), dtype=np.int64))
            masked[: self.params.min_tokens - start] |= stops[None, :]
        output = np.asarray(self.output_ids, dtype=np.int64)
        for word in self.bad_word_ids:
            column = int(np.searchsorted(self.touched_ids, word[-1]))
            prefix = np.asarray(word[:-1], dtype=np.int64)
            positions = np.arange(max(start, len(prefix)), start + rows)
            if not len(positions):
                continue
            before = positions[:, None] - len(prefix) + np.arange(len(prefix))[None, :]
            matched = (output[before] == prefix[None, :]).all(axis=1)
            masked[positions[matched] - start, column] = True
        return masked
