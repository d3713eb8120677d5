"""Arithmetic coding of a message in a choice among candidates, again and again: nothing hides more bits in them."""

from dataclasses import dataclass, field

import numpy as np

from sampler.types import FloatArray, IntArray

PRECISION = 16
"""Bits of an integer probability."""


@dataclass(frozen=True)
class Received:
    """The leading bits of a message, as a number, and how many they are."""

    message: int
    bits: int


@dataclass
class ArithmeticSender:
    """Says as much of a message as goes into the choices.

    Attributes:
        message: uniform bits, `length` of them, more than can be sent.
    """

    message: int
    length: int
    _width: int = field(default=1, init=False)

    def choose(self, probability_k: FloatArray) -> int:
        """The next candidate: it is taken with its probability, since the message is uniform."""
        ends = _ends(probability_k)
        scaled, unit = self.message << PRECISION, self._width << self.length  # its place in the interval: scaled / unit
        at = int(np.searchsorted(ends, scaled // unit, side="right")) - 1
        first, count = int(ends[at]), int(ends[at + 1] - ends[at])
        self.message, self._width = scaled - first * unit, self._width * count
        return at


@dataclass
class ArithmeticReceiver:
    """Reads a message from the choices; it must know the same probabilities."""

    _low: int = field(default=0, init=False)
    _width: int = field(default=1, init=False)
    _scale: int = field(default=0, init=False)

    def take(self, probability_k: FloatArray, at: int) -> None:
        """The next choice; one that the sender cannot have made says nothing."""
        ends = _ends(probability_k)
        first, count = int(ends[at]), int(ends[at + 1] - ends[at])
        if count:
            self._low = (self._low << PRECISION) + self._width * first
            self._width, self._scale = self._width * count, self._scale + PRECISION

    def received(self) -> Received:
        """What the choices say: the bits that all messages with these choices have in common."""
        differing = (self._low ^ (self._low + self._width - 1)).bit_length()
        return Received(self._low >> differing, self._scale - differing)


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


def _ends(probability_k: FloatArray) -> IntArray:
    """Ends of the candidates' intervals in [0, 2^PRECISION]; what is possible has one unit at least."""
    possible = probability_k > 0
    spare = (1 << PRECISION) - int(possible.sum())
    counts = np.floor(probability_k / probability_k.sum() * spare).astype(np.int64) + possible
    counts[int(np.argmax(probability_k))] += (1 << PRECISION) - int(counts.sum())
    return np.concatenate([[0], np.cumsum(counts)])
