"""A simulated inference server: real weights, one token at a time with a cache, and draws of scheme `vllm-cpu`.

The owner of the server chooses every token: an honest server by sampling, an attacker freely.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import llguidance
import numpy as np
import torch
import transformers

from benchmarks.grammars.matchers import GrammarMatchers
from weightwarden.logger.record import Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters, support_of_head
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.transformers.float32_linear import with_float32_products
from weightwarden.verifier.replay.transformers.replayer import DTYPES

HEAD = 64
"""Number of candidates of a position, the most likely: more than the attackers' top-k keeps."""


@dataclass(frozen=True)
class Step:
    """One output position of a batch of answers, from the view of the server.

    Attributes:
        position: place of the token in the answers, 0 the first.
        active_b: answers that continue.
        ids_bk: candidates, the most likely first.
        probability_bk: probabilities after temperature and filters, 0 outside the support.
        score_bk: perturbed logits, -inf outside the support; the largest is the honest choice.
    """

    position: int
    active_b: IntArray
    ids_bk: IntArray
    probability_bk: FloatArray
    score_bk: FloatArray

    @property
    def margin_bk(self) -> FloatArray:
        """Logits by which candidates are below the honest choice; inf outside the support."""
        margin: FloatArray = self.score_bk.max(axis=1, keepdims=True) - self.score_bk
        return margin

    @property
    def honest_b(self) -> IntArray:
        """The honest choice."""
        at = self.score_bk.argmax(axis=1)
        chosen: IntArray = np.take_along_axis(self.ids_bk, at[:, None], 1)[:, 0]
        return chosen


Choose = Callable[[Step], IntArray]
"""Function that chooses the token of each answer."""


def honestly(step: Step) -> IntArray:
    """The honest choice, by sampling."""
    return step.honest_b


class ServedModel:
    """A served model.

    Attributes:
        temperature_factor: factor from the request's temperature to the one used for sampling.
        system: token ids added before every prompt without a request for it.
        head: number of candidates of a position, the most likely. Requests must not need more: the vocabulary's size
            suffices for all, `HEAD` for those with a smaller top-k.
        progress: called with the number of tokens just drawn.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        identity: ModelIdentity,
        *,
        temperature_factor: float = 1.0,
        system: Sequence[int] = (),
        head: int = HEAD,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.model = cast(Any, model)
        self.identity = identity
        self.temperature_factor = temperature_factor
        self.system = list(system)
        self.head = head
        self.progress = progress
        self._noise = gumbel_noise("vllm-cpu", identity.vocabulary)
        self._matchers: GrammarMatchers | None = None

    @classmethod
    def load(cls, identity: ModelIdentity, dtype: str = "bfloat16", **how: Any) -> Self:
        """A server of a model folder."""
        transformers.utils.logging.disable_progress_bar()
        model = transformers.AutoModelForCausalLM.from_pretrained(
            identity.path, dtype=DTYPES[dtype], use_safetensors=True, local_files_only=True
        )
        with_float32_products(model)
        return cls(model.eval(), identity, **how)

    @torch.no_grad()
    def serve(self, requests: Sequence[Record], choose: Choose, *, stops: bool = True) -> list[list[int]]:
        """The answers to a batch of requests, all of the same limit and without adjustments of logits.

        1. Run the prompts, padded on the left.
        2. For each position: compute logits, mask those that a request's grammar excludes, compute candidates, their
           support and noise; let `choose` select the tokens; run them. After a token outside its grammar, an answer
           goes on without one.
        3. End an answer at an end-of-sequence token, if the server `stops` there, or at the limit.

        Args:
            requests: records, of which prompt, seed and sampling are used.
        """
        prompts = [[*self.system, *request.prompt_token_ids] for request in requests]
        limit = requests[0].sampling.max_tokens
        assert limit is not None
        assert all(request.sampling.max_tokens == limit for request in requests)
        keys_bt = np.stack(
            [self._noise.keys(request.choice_seed(), len(request.prompt_token_ids), limit) for request in requests]
        )
        # 1
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = transformers.DynamicCache(config=self.model.config)
        outputs: list[list[int]] = [[] for _ in requests]
        active = np.ones(len(requests), np.bool_)
        grammars = [self._matcher_of(request) for request in requests]
        # 2
        for position in range(limit):
            logits = self._logits(ids, mask, positions, cache)
            self._mask(logits, grammars)
            said_b = choose(self._step(logits, requests, keys_bt[:, position], position, np.flatnonzero(active)))
            # 3
            if self.progress is not None:
                self.progress(int(active.sum()))
            for row in np.flatnonzero(active):
                outputs[row].append(int(said_b[row]))
                active[row] = not (stops and said_b[row] in self.identity.eos_ids)
                grammars[row] = _after(grammars[row], int(said_b[row])) if active[row] else None
            if not active.any():
                break
            ids = torch.from_numpy(said_b.astype(np.int64))[:, None]
            mask = torch.cat([mask, torch.ones(len(requests), 1, dtype=mask.dtype)], 1)
            positions = positions[:, -1:] + 1
        return outputs

    def _logits(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: transformers.Cache
    ) -> torch.Tensor:
        """Raw logits of the last position, float32 [batch, V]."""
        found = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cast(torch.Tensor, found.logits[:, -1]).float()

    def _matcher_of(self, request: Record) -> llguidance.LLMatcher | None:
        if request.grammar is None:
            return None
        if self._matchers is None:
            self._matchers = GrammarMatchers(self.identity)
        return self._matchers.start(request.grammar)

    def _mask(self, logits: torch.Tensor, grammars: Sequence[llguidance.LLMatcher | None]) -> None:
        """Set the logits [batch, V] that the answers' grammars exclude to -inf, in place."""
        for row, matcher in enumerate(grammars):
            if matcher is not None and self._matchers is not None:
                logits[row, torch.from_numpy(~self._matchers.allowed(matcher))] = -torch.inf

    def _step(
        self, logits: torch.Tensor, requests: Sequence[Record], keys_b: Any, position: int, active_b: IntArray
    ) -> Step:
        values, indices = logits.topk(self.head)
        head, ids = values.double().numpy(), indices.numpy()
        temperature = np.array([request.sampling.temperature * self.temperature_factor for request in requests])
        vocabulary = self.identity.vocabulary
        filters = Filters(
            temperature_n=temperature,
            top_k_n=np.array([request.sampling.top_k or vocabulary for request in requests]),
            top_p_n=np.array([request.sampling.top_p for request in requests]),
            min_p_n=np.array([request.sampling.min_p for request in requests]),
        )
        inside = support_of_head(head, filters, None, np.zeros(1)).nominal_nk
        weights = np.where(inside, np.exp((head - head[:, :1]) / temperature[:, None]), 0.0)
        score = head + temperature[:, None] * self._noise.at(keys_b, ids)
        return Step(
            position=position,
            active_b=active_b,
            ids_bk=ids,
            probability_bk=weights / weights.sum(axis=1, keepdims=True),
            score_bk=np.where(inside, score, -np.inf),
        )


def _after(matcher: llguidance.LLMatcher | None, token: int) -> llguidance.LLMatcher | None:
    """The matcher after a token; None if the token is outside the grammar."""
    return matcher if matcher is not None and matcher.consume_token(token) else None
