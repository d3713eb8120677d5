"""The protocol of Gumbel noise, and the block loop that counter-based schemes share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray, KeyArray

BLOCK_ELEMENTS = 1 << 17
"""Elements hashed at a time: a few whole vocabularies, small enough to stay in a core's cache."""


class GumbelNoise(ABC):
    """Gumbel noise g of one scheme: the engine draws argmax over the support of logit / temperature + g.

    All methods are pure functions of their arguments; g is in nats (the unit of logit / temperature). A larger g makes
    its token more likely to win.
    """

    name: ClassVar[str]
    tolerance: ClassVar[float | None]
    """Error of the engine's own scores by its arithmetic, nats; None where it depends on the noise."""
    by_rank: ClassVar[bool] = False
    """True if the noise belongs to ranks (0 is the likeliest token) and not to token ids. `at` then takes ranks."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    @abstractmethod
    def keys(self, seed: int, prompt_length: int, output_length: int) -> KeyArray:
        """Keys [output_length] of a choice's output positions 0, 1, ... Any subset of them may be used alone.

        Args:
            seed: the choice's own seed (seed + choice index for vLLM), within the scheme's range.
            prompt_length: prompt tokens that the engine really used.
            output_length: output tokens.
        """

    @abstractmethod
    def at(self, keys_n: KeyArray, ids_nk: IntArray) -> FloatArray:
        """Noise g [n, k] of candidate token ids [n, k] at the positions with these keys."""

    def error(self, g_nk: FloatArray) -> FloatArray:
        """Largest difference [n, k] between the engine's logit / temperature + g and ours, nats.

        It covers the engine's generator, logarithm and rounding for a token with noise g, and not its logits.
        """
        assert self.tolerance is not None
        return np.full(g_nk.shape, self.tolerance)

    @abstractmethod
    def above(self, keys_n: KeyArray, floor_n: FloatArray) -> tuple[IntArray, IntArray]:
        """All (row, token id) of the vocabulary whose noise may reach floor_n[row]; two int64 arrays [m], row-major.

        The result is a superset: it holds every token with g + error(g) >= floor, and perhaps a few just below.
        """

    @property
    def block_rows(self) -> int:
        """Number of positions whose whole vocabulary is hashed at a time."""
        return max(1, BLOCK_ELEMENTS // self.vocabulary)

    def _blocks(self, rows: int) -> Iterator[slice]:
        for start in range(0, rows, self.block_rows):
            yield slice(start, min(start + self.block_rows, rows))


def hits_of(passed_nv: BoolArray, first_row: int) -> tuple[IntArray, IntArray]:
    """The (rows, ids) where a contiguous block is true. NumPy searches the flat block faster than pairs."""
    flat = np.flatnonzero(passed_nv.ravel())
    rows, ids = np.divmod(flat, passed_nv.shape[1])
    return rows + first_row, ids


def concatenate_hits(hits: list[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    """The (rows, ids) of successive blocks, joined."""
    if not hits:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([rows for rows, _ in hits]), np.concatenate([ids for _, ids in hits])
