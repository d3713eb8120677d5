"""Arithmetic coding of a message in successive choices among candidates: no coding hides more bits in them."""

from dataclasses import dataclass, field

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray

PRECISION = 16
"""Bits of an integer probability."""


@dataclass(frozen=True)
class Received:
    """The leading bits of a message as a number, and how many they are."""

    message: int
    bits: int


@dataclass
class ArithmeticSender:
    """Sender of as much of a message as the choices can carry.

    Attributes:
        message: uniform bits, `length` of them, more than can be sent.
        length: number of bits of the message.
    """

    message: int
    length: int
    _width: int = field(default=1, init=False)

    def choose(self, probability_k: FloatArray) -> int:
        """The next candidate. It is taken with its probability, since the message is uniform."""
        ends = _ends(probability_k)
        scaled, unit = self.message << PRECISION, self._width << self.length  # place in the interval: scaled / unit
        at = int(np.searchsorted(ends, scaled // unit, side="right")) - 1
        first, count = int(ends[at]), int(ends[at + 1] - ends[at])
        self.message, self._width = scaled - first * unit, self._width * count
        return at


@dataclass
class ArithmeticReceiver:
    """Receiver of a message from the choices. It must know the same probabilities."""

    _low: int = field(default=0, init=False)
    _width: int = field(default=1, init=False)
    _scale: int = field(default=0, init=False)

    def take(self, probability_k: FloatArray, at: int) -> None:
        """Read the next choice. A choice that the sender cannot have made carries nothing."""
        ends = _ends(probability_k)
        first, count = int(ends[at]), int(ends[at + 1] - ends[at])
        if count:
            self._low = (self._low << PRECISION) + self._width * first
            self._width, self._scale = self._width * count, self._scale + PRECISION

    def received(self) -> Received:
        """The bits that all messages with these choices have in common."""
        differing = (self._low ^ (self._low + self._width - 1)).bit_length()
        return Received(self._low >> differing, self._scale - differing)


def _ends(probability_k: FloatArray) -> IntArray:
    """Ends of the candidates' intervals in [0, 2^PRECISION]; a possible candidate has one unit at least."""
    possible = probability_k > 0
    spare = (1 << PRECISION) - int(possible.sum())
    counts = np.floor(probability_k / probability_k.sum() * spare).astype(np.int64) + possible
    counts[int(np.argmax(probability_k))] += (1 << PRECISION) - int(counts.sum())
    return np.concatenate([[0], np.cumsum(counts)])
