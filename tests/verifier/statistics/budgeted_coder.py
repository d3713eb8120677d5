"""The encoder that no bound must lose to: an arithmetic coder whose total cost stays within a budget."""

from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.arithmetic import ArithmeticReceiver, ArithmeticSender, Received
from weightwarden.sampler.types import FloatArray, IntArray


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
        """The candidate [n] of every position that says as much of the message as goes in (`ArithmeticSender`)."""
        sender, spent = ArithmeticSender(message, length), 0.0
        choice_n = np.zeros(len(self.cost_nk), np.int64)
        for t in range(len(choice_n)):
            choice_n[t] = sender.choose(self._allowed(t, spent))
            spent += float(self.cost_nk[t, choice_n[t]])
        return choice_n

    def receive(self, choice_n: IntArray) -> Received:
        """What the choices say."""
        receiver, spent = ArithmeticReceiver(), 0.0
        for t, at in enumerate(choice_n):
            receiver.take(self._allowed(t, spent), int(at))
            spent += float(self.cost_nk[t, at])
        return receiver.received()

    def _allowed(self, t: int, spent: float) -> FloatArray:
        """The probabilities of what the budget still allows at a position."""
        probabilities = np.where(spent + self.cost_nk[t] <= self.budget, self.probability_nk[t], 0.0)
        return probabilities if probabilities.any() else (self.cost_nk[t] == 0).astype(np.float64)


def tilted(cost_nk: FloatArray, tilt: float) -> FloatArray:
    """Probabilities that have most entropy at their mean cost: proportional to exp(-tilt * cost), 0 where it is inf."""
    offered = np.isfinite(cost_nk)
    weights = offered * np.exp(-tilt * np.where(offered, cost_nk, 0.0))
    normalised: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normalised
