"""A simulated server for any request: the embedded model's logits, adjusted, filtered and drawn like vLLM's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.attackers.serving import ServedModel, Step
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.record import Record
from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.support import Filters, support_of_head

BATCH = 32


class AnyServer(ServedModel):
    """A simulated server that draws from the whole vocabulary, with every adjustment and filter of vLLM."""

    _said: list[list[int]]

    def answers(self, requests: Sequence[Record]) -> list[Record]:
        """Honest answers to requests, in batches of answers of the same limit."""
        found: dict[int, Record] = {}
        order = sorted(range(len(requests)), key=lambda at: (requests[at].sampling.max_tokens or 1, at))
        with progress_bar(len(requests), "Answering requests") as progress:
            for limit in sorted({request.sampling.max_tokens or 1 for request in requests}):
                alike = [at for at in order if (requests[at].sampling.max_tokens or 1) == limit]
                for start in range(0, len(alike), BATCH):
                    batch = alike[start : start + BATCH]
                    self._said = [[] for _ in batch]
                    outputs = self.serve([requests[at] for at in batch], self._say, stops=False)
                    for at, output in zip(batch, outputs, strict=True):
                        found[at] = self._ended(requests[at], output)
                    progress(len(batch))
        return [found[at] for at in range(len(requests))]

    def _say(self, step: Step) -> Any:
        honest = step.honest_b
        for row, said in enumerate(self._said):
            said.append(int(honest[row]))
        return honest

    def _step(
        self, logits: torch.Tensor, requests: Sequence[Record], keys_b: Any, position: int, active_b: Any
    ) -> Step:
        values = logits.numpy().copy()
        for row, request in enumerate(requests):
            adjustment = LogitAdjustment(
                params=request.sampling,
                prompt_ids=request.prompt_token_ids,
                output_ids=[*self._said[row], 0],
                stop_ids=(*request.sampling.stop_token_ids, *self.identity.eos_ids),
            )
            touched = adjustment.touched_ids
            values[row, touched] = adjustment.adjusted(position, values[row : row + 1, touched])[0]
            if adjustment.allowed_ids is not None:
                kept = values[row, adjustment.allowed_ids]
                values[row] = -np.inf
                values[row, adjustment.allowed_ids] = kept
        vocabulary = values.shape[1]
        sampling = [request.sampling for request in requests]
        effective = scheme("vllm-cpu").effective_temperature
        temperature = np.array([effective(s.temperature) if s.temperature else 1.0 for s in sampling])
        off = np.array([s.is_greedy for s in sampling])
        filters = Filters(
            temperature_n=temperature,
            top_k_n=np.array([vocabulary if s.top_k <= 0 else min(s.top_k, vocabulary) for s in sampling]),
            top_p_n=np.array([s.top_p for s in sampling]),
            min_p_n=np.array([s.min_p for s in sampling]),
        )
        order = np.argsort(-values, axis=1, kind="stable")
        descending = np.take_along_axis(values, order, 1).astype(np.float64)
        inside = support_of_head(descending, filters, None, np.zeros(1)).nominal_nk
        inside |= off[:, None]
        noise = np.where(off[:, None], 0.0, temperature[:, None] * self._noise.at(keys_b, order))
        scores = np.full(values.shape, -np.inf)
        np.put_along_axis(scores, order, np.where(inside, descending + noise, -np.inf), 1)
        everything = np.broadcast_to(np.arange(vocabulary), values.shape)  # of equal scores the lowest id wins
        return Step(
            position=position, active_b=active_b, ids_bk=everything, probability_bk=np.exp(scores), score_bk=scores
        )

    def _ended(self, request: Record, output: list[int]) -> Record:
        """The answer, up to where a token ends it."""
        sampling = request.sampling
        eos = set() if sampling.ignore_eos else set(self.identity.eos_ids)
        ends = eos.union(sampling.stop_token_ids)
        at = next((t for t, token in enumerate(output) if token in ends), None)
        if at is None:
            return request.model_copy(update={"output_token_ids": output, "finish_reason": "length"})
        reason = None if output[at] in eos else output[at]
        update = {"output_token_ids": output[: at + 1], "finish_reason": "stop", "stop_reason": reason}
        return request.model_copy(update=update)
