"""Bases of structs: columns with one entry a row, and sums over rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from weightwarden.sampler.types import BoolArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Base of a struct of arrays: every field is an array [rows, ...]."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The rows of some parts, one part after another.

        Raises:
            ValueError: there is no part.
        """
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def take(self, which: BoolArray | IntArray | slice) -> Self:
        """The rows with these indices, in the order of the indices."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(kw_only=True)
class Sums:
    """Base of a struct of sums: every field is a number or an array, zero by default."""

    @classmethod
    def total(cls, parts: Sequence[Self]) -> Self:
        """The sums over disjoint parts; zeros without parts."""
        values: dict[str, Any] = {f.name: sum(getattr(part, f.name) for part in parts) for f in fields(cls)}
        return cls(**values) if parts else cls()
