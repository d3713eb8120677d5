"""Draws of output positions: all inputs of the engine's choice of tokens except the logits."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.noise import GumbelNoise
from weightwarden.sampler.support import Filters, counts_above
from weightwarden.sampler.types import FloatArray, IntArray, KeyArray
from weightwarden.verifier.candidates.window import HEAD_SIZE
from weightwarden.verifier.logits.rows import LogitRows


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Inputs of the draws of n output positions, except the logits; all of one scheme.

    Attributes:
        claimed_n: claimed token ids.
        temperature_n: temperature of the draw; 1 where greedy.
        filters: the filters, at the temperature at which the engine applies them.
        top_p_of_everything: whether top-p counts the mass of the whole vocabulary instead of the tokens that top-k
            keeps.
        noise: the Gumbel noise, or None (greedy, inverse-cdf).
        keys_n: the keys of the noise, or None (greedy, inverse-cdf).
        uniforms_n: the uniform numbers (inverse-cdf, and schemes that accept drafts), or None.
        raw_rank_n: rank of the claimed token in the raw logits where penalties have changed them since; V + 1 where
            the grammar excludes the token; else 0.
    """

    claimed_n: IntArray
    temperature_n: FloatArray
    filters: Filters
    noise: GumbelNoise | None
    keys_n: KeyArray | None
    uniforms_n: FloatArray | None
    raw_rank_n: IntArray
    top_p_of_everything: bool = False

    @property
    def by_rank(self) -> bool:
        """True if the noise belongs to ranks, not to token ids."""
        return self.noise is not None and self.noise.by_rank

    def perturbation(self, ids_nk: IntArray, rows: IntArray | None = None) -> FloatArray:
        """temperature * g of candidates [n, k], in logits; zero when greedy."""
        if self.noise is None or self.keys_n is None:
            return np.zeros(ids_nk.shape)
        keys, temperature = self.keys_n, self.temperature_n
        if rows is not None:
            keys, temperature = keys[rows], temperature[rows]
        return temperature[:, None] * self.noise.at(keys, ids_nk)

    def reach(
        self, scores_nk: FloatArray, perturbation_nk: FloatArray, rows: IntArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Least and largest perturbed logit [n, k] that the engine may have had for each of ours."""
        if self.noise is None:
            return scores_nk, scores_nk
        temperature = (self.temperature_n if rows is None else self.temperature_n[rows])[:, None]
        error = temperature * self.noise.error(perturbation_nk / temperature)
        return scores_nk - error, scores_nk + error


def logit_rank(rows: LogitRows, draws: Draws, head: FloatArray | None = None) -> IntArray:
    """Rank [n] of the claimed tokens in the raw logits: the number of logits that are not smaller.

    Tied tokens have the largest of their ranks, so that no two share a small rank. Only tokens that the grammar allows
    count. A token outside the grammar has rank V + 1.

    Args:
        head: the largest logits of each row, descending, if they are known.
    """
    value = rows.at(np.arange(len(rows)), draws.claimed_n)
    if head is None:
        head, _ = rows.head(np.arange(len(rows)), HEAD_SIZE)
    rank = counts_above(head, value[:, None], inclusive=True)[:, 0]
    known_down_to = head[:, -1] if rows.whole else rows.ceilings()
    deep = np.flatnonzero((value <= known_down_to) & (draws.raw_rank_n == 0))
    if len(deep):
        rank[deep] = rows.rank(deep, draws.claimed_n[deep])
    return np.where(draws.raw_rank_n > 0, draws.raw_rank_n, rank)


def filters_of(filters: Filters, rows: IntArray) -> Filters:
    """The filters of some of the positions."""
    return Filters(
        temperature_n=filters.temperature_n[rows],
        top_k_n=filters.top_k_n[rows],
        top_p_n=filters.top_p_n[rows],
        min_p_n=filters.min_p_n[rows],
    )
