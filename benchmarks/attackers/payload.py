"""What is to be stolen: real weight bytes, enciphered so that they look like any other bits."""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.attackers.arithmetic import Received
from verifier.statistics.bandwidth import binary_entropy


@dataclass(frozen=True)
class Payload:
    """A piece of the weights for each answer.

    Attributes:
        path: file with weights. key: that encoder and decoder share. length: bits of a piece, a multiple of 8.
    """

    path: Path
    key: bytes
    length: int

    def message(self, answer: int) -> int:
        """The bits that an answer is to carry: weight bytes, enciphered."""
        size = self.length // 8
        with self.path.open("rb") as stream:
            stream.seek(self.path.stat().st_size // 3 + answer * size)
            weights = int.from_bytes(stream.read(size))
        stream_key = hmac.digest(self.key, b"payload %d" % answer, hashlib.sha256)
        return weights ^ int.from_bytes(hashlib.shake_256(stream_key).digest(size))

    def bits(self, answer: int, start: int, count: int) -> int:
        """Some of the bits of an answer's piece, as a number."""
        return (self.message(answer) >> (self.length - start - count)) & ((1 << count) - 1)

    def arrived(self, answer: int, received: Received) -> float:
        """Bits of what was received that say something of the weights: all, or less where some are wrong.

        With e of n bits wrong, n (1 - h2(e / n)): what error correction could make of it at most.
        """
        if not received.bits:
            return 0.0
        wrong = (received.message ^ self.bits(answer, 0, received.bits)).bit_count()
        share = wrong / received.bits
        return 0.0 if share >= 0.5 else received.bits * (1 - binary_entropy(share))


def shared_draws(key: bytes, what: str, answer: int) -> np.random.Generator:
    """Random numbers that encoder and decoder share, and nobody else knows."""
    return np.random.default_rng(list(hmac.digest(key, f"{what} {answer}".encode(), hashlib.sha256)))
