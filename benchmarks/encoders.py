"""Encoders that hide a message in the tokens that they choose, and their receivers: what bandwidth bounds must hold."""

from dataclasses import dataclass

import numpy as np

from sampler.types import FloatArray, IntArray

PRECISION = 16
"""Bits of an integer probability."""


@dataclass(frozen=True)
class Received:
    """The leading bits of a message, as a number, and how many they are."""

    message: int
    bits: int


@dataclass(frozen=True)
class BudgetedCoder:
    """An arithmetic coder over candidates, whose total cost stays within a budget.

    Choosing candidates by given probabilities hides as many bits a token as these have entropy, which nothing beats.
    Candidates that the budget no longer allows are left out, by the receiver as well, who knows the costs.

    Attributes:
        probability_nk: of the candidates of each position, 0 where there is none.
        cost_nk: what each costs; every position has one that costs nothing. budget: the largest total cost.
    """

    probability_nk: FloatArray
    cost_nk: FloatArray
    budget: float

    def send(self, message: int, length: int) -> IntArray:
        """The candidate [n] of every position that says as much of the message as goes in.

        Args:
            message: uniform bits, `length` of them, more than can be sent.
        """
        choice_n = np.zeros(len(self.cost_nk), np.int64)
        value, width, spent = message, 1, 0.0  # the message's place within the interval: value / (width * 2^length)
        for t in range(len(choice_n)):
            ends = self._ends(t, spent)
            scaled, unit = value << PRECISION, width << length
            at = int(np.searchsorted(ends, scaled // unit, side="right")) - 1
            first, count = int(ends[at]), int(ends[at + 1] - ends[at])
            value, width = scaled - first * unit, width * count
            choice_n[t] = at
            spent += float(self.cost_nk[t, at])
        return choice_n

    def receive(self, choice_n: IntArray) -> Received:
        """What the choices say: the bits that all messages with these choices have in common."""
        low, width, scale, spent = 0, 1, 0, 0.0  # the interval [low, low + width) / 2^scale
        for t, at in enumerate(choice_n):
            ends = self._ends(t, spent)
            first, count = int(ends[at]), int(ends[at + 1] - ends[at])
            low, width, scale = (low << PRECISION) + width * first, width * count, scale + PRECISION
            spent += float(self.cost_nk[t, at])
        differing = (low ^ (low + width - 1)).bit_length()
        return Received(low >> differing, scale - differing)

    def _ends(self, t: int, spent: float) -> IntArray:
        """Ends of the candidates' intervals in [0, 2^P] at a position; what is possible has one unit at least."""
        probabilities = np.where(spent + self.cost_nk[t] <= self.budget, self.probability_nk[t], 0.0)
        if not probabilities.any():  # the budget is spent
            probabilities = (self.cost_nk[t] == 0).astype(np.float64)
        possible = probabilities > 0
        spare = (1 << PRECISION) - int(possible.sum())
        counts = np.floor(probabilities / probabilities.sum() * spare).astype(np.int64) + possible
        counts[int(np.argmax(probabilities))] += (1 << PRECISION) - int(counts.sum())
        return np.concatenate([[0], np.cumsum(counts)])


def tilted(cost_nk: FloatArray, tilt: float) -> FloatArray:
    """Probabilities that have most entropy at their mean cost: proportional to exp(-tilt * cost), 0 where it is inf."""
    offered = np.isfinite(cost_nk)
    weights = offered * np.exp(-tilt * np.where(offered, cost_nk, 0.0))
    normalised: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normalised
