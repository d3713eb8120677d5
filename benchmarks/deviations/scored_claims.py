"""Scored claims of many records, kept in a file: another policy of the same tolerance judges them without a replay."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.token_scores import TokenScores

RAGGED = ("rival_margin_nk", "unseen_margin_nu")
"""Fields with as many columns as the position with the most rivals needs; unused places are nan."""


@dataclass(frozen=True)
class ScoredClaims:
    """Scored claims of one server.

    Attributes:
        record_n: record of each token.
        scores: scores of the tokens.
    """

    record_n: IntArray
    scores: TokenScores

    @classmethod
    def of(cls, scored: Sequence[TokenScores]) -> Self:
        """The claims of records with these scores, one entry a record."""
        columns: dict[str, Any] = {}
        for name in [field.name for field in fields(TokenScores)]:
            parts = [getattr(scores, name) for scores in scored]
            width = max(part.shape[1] for part in parts) if name in RAGGED else 0
            columns[name] = np.concatenate([_padded(part, width) if name in RAGGED else part for part in parts])
        record_n = np.repeat(np.arange(len(scored)), [len(scores) for scores in scored])
        return cls(record_n, TokenScores(**columns))

    @property
    def records(self) -> int:
        """Number of records."""
        return int(self.record_n[-1]) + 1


def written(claims: dict[str, ScoredClaims], path: Path) -> None:
    """Write the claims of servers by name."""
    arrays = {
        f"{name} {field.name}": getattr(of.scores, field.name)
        for name, of in claims.items()
        for field in fields(TokenScores)
    } | {f"{name} record_n": of.record_n for name, of in claims.items()}
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read(path: Path, names: Sequence[str]) -> dict[str, ScoredClaims]:
    """The claims of servers with these names from a file.

    Raises:
        KeyError: the file does not hold one.
    """
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: ScoredClaims(
                stored[f"{name} record_n"],
                TokenScores(**{field.name: stored[f"{name} {field.name}"] for field in fields(TokenScores)}),
            )
            for name in names
        }


def _padded(margin_nk: FloatArray, width: int) -> FloatArray:
    return np.pad(margin_nk, ((0, 0), (0, width - margin_nk.shape[1])), constant_values=np.nan)
