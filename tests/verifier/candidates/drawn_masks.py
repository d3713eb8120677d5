"""Grammars whose masks are drawn at random from their text, for any vocabulary, without a grammar library."""

from collections.abc import Sequence

import numpy as np

from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray
from weightwarden.verifier.logits.token_masks import TokenMasks

SHARES = (1.0, 0.9, 0.3, 0.05, 0.01)
"""Shares of the vocabulary that the masks of successive positions allow, in turn."""


def allowed_tokens(text: str, position: int, vocabulary: int) -> BoolArray:
    """What the grammar allows at a position: a share of the vocabulary, and at least one token."""
    rng = np.random.default_rng([*text.encode(), position])
    allowed: BoolArray = rng.random(vocabulary) < SHARES[position % len(SHARES)]
    allowed[rng.integers(vocabulary)] = True
    return allowed


class DrawnMasks:
    """A `GrammarSource` of such grammars. A text that begins with "bad" cannot be used.

    Attributes:
        made: texts whose masks were made, in order.
    """

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.made: list[str] = []
        self.closed = False

    def masks(self, kind: str, text: str, ids: Sequence[int]) -> GrammarMasks:
        """The masks up to the first token outside."""
        assert kind == "regex"
        self.made.append(text)
        if text.startswith("bad"):
            raise GrammarRefused("the expression is bad")
        rows, outside = [], None
        for position, token in enumerate(ids):
            allowed = allowed_tokens(text, position, self.vocabulary)
            rows.append(allowed)
            if not allowed[token]:
                outside = position
                break
        return packed(np.array(rows).reshape(-1, self.vocabulary), outside)

    def close(self) -> None:
        """Note it."""
        self.closed = True


def packed(allowed_nv: BoolArray, outside_at: int | None = None) -> GrammarMasks:
    """Masks from booleans."""
    n, vocabulary = allowed_nv.shape
    wide = np.zeros((n, -(-vocabulary // 32) * 32), np.bool_)
    wide[:, :vocabulary] = allowed_nv
    words = np.ascontiguousarray(np.packbits(wide, axis=1, bitorder="little")).view("<u4").astype(np.uint32)
    return GrammarMasks(words, np.arange(n, dtype=np.uint32), outside_at)


def constrained(record: Record, text: str) -> Record:
    """The record with the grammar of that text."""
    grammar = {"kind": "regex", "text": text, "backend": "guidance", "version": "1.7.6"}
    return Record.model_validate(record.model_dump() | {"grammar": grammar})


def token_masks(allowed_nv: BoolArray) -> TokenMasks:
    """The same masks for rows, with equal ones held once."""
    distinct_uv, mask_of_n = np.unique(allowed_nv, axis=0, return_inverse=True)
    return TokenMasks(packed(distinct_uv).packed_nw, mask_of_n)
