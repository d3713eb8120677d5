"""Number of records by their length, in a compact form."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from weightwarden.sampler.types import IntArray

_PAIR = np.dtype("<u4")


@dataclass(frozen=True, kw_only=True)
class LengthTable:
    """Number of records by their output tokens.

    Attributes:
        tokens_u: lengths, ascending.
        records_u: number of records of each length, at least 1.
    """

    tokens_u: IntArray
    records_u: IntArray

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Self:
        """The table of the number of records by length."""
        pairs = np.array(sorted(counts.items()), np.int64).reshape(-1, 2)
        return cls(tokens_u=pairs[:, 0], records_u=pairs[:, 1])

    @classmethod
    def of_records(cls, tokens_r: IntArray) -> Self:
        """The table of records of these lengths."""
        return cls.of(Counter(tokens_r.tolist()))

    @property
    def tokens(self) -> int:
        """Output tokens of all its records."""
        return int(self.tokens_u @ self.records_u)

    def to_bytes(self) -> bytes:
        """The table in its stored form: pairs of 32-bit numbers."""
        return np.stack([self.tokens_u, self.records_u], axis=1).astype(_PAIR).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The table from the stored form of `to_bytes`.

        Raises:
            ValueError: the bytes are none.
        """
        pairs = np.frombuffer(data, _PAIR).reshape(-1, 2).astype(np.int64)
        return cls(tokens_u=pairs[:, 0], records_u=pairs[:, 1])
