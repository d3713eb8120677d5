"""The payload: real weight bytes, encrypted so that they look like random bits."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import gammaln

from benchmarks.attackers.arithmetic import Received


@dataclass(frozen=True)
class Payload:
    """A piece of the weights for each answer.

    Attributes:
        path: file with weights.
        key: key that encoder and decoder share.
        length: bits of a piece, a multiple of 8.
    """

    path: Path
    key: bytes
    length: int

    def message(self, answer: int) -> int:
        """The encrypted weight bytes for an answer."""
        size = self.length // 8
        with self.path.open("rb") as stream:
            stream.seek(self.path.stat().st_size // 3 + answer * size)
            weights = int.from_bytes(stream.read(size))
        stream_key = hmac.digest(self.key, b"payload %d" % answer, hashlib.sha256)
        return weights ^ int.from_bytes(hashlib.shake_256(stream_key).digest(size))

    def stream(self, answers: range) -> tuple[int, int]:
        """The pieces of several answers as one message, and its length in bits."""
        message = 0
        for answer in answers:
            message = message << self.length | self.message(answer)
        return message, self.length * len(answers)

    def bits(self, answer: int, start: int, count: int) -> int:
        """Some of the bits from an answer's piece on, as a number; later pieces follow."""
        first, last = start // self.length, max(start, start + count - 1) // self.length
        message, length = self.stream(range(answer + first, answer + last + 1))
        return (message >> (length - (start - first * self.length) - count)) & ((1 << count) - 1)

    def arrived(self, received: Sequence[Received]) -> float:
        """Bits by which the decoded answers shorten the description of the weights: all of them, or fewer with errors.

        Decoded bits that are unrelated to the weights save s bits with probability 2^-s at most. The description gives
        the number of wrong bits, and their places (`saved_bits`): for all answers together, or for each answer
        separately, whichever is shorter, for one bit. A separate answer may be described plainly, for half of its
        weight.
        """
        heard = [one.bits for one in received]
        wrong = [
            (one.message ^ self.bits(answer, 0, one.bits)).bit_count() if one.bits else 0
            for answer, one in enumerate(received)
        ]
        together = saved_bits(sum(heard), sum(wrong))
        apart = sum(float(np.logaddexp2(0.0, saved_bits(n, e))) - 1 for n, e in zip(heard, wrong, strict=True) if n)
        return max(0.0, max(together, apart) - 1)


def saved_bits(heard: int, wrong: int) -> float:
    """n - log2(n + 1) - log2 C(n, e): bits saved by a copy of n bits of which e are wrong (Cover 1973)."""
    choices = gammaln(heard + 1) - gammaln(wrong + 1) - gammaln(heard - wrong + 1)
    return heard - float(np.log2(heard + 1)) - float(choices) / float(np.log(2))


def shared_draws(key: bytes, what: str, answer: int) -> np.random.Generator:
    """Random numbers that only encoder and decoder know."""
    return np.random.default_rng(list(hmac.digest(key, f"{what} {answer}".encode(), hashlib.sha256)))
