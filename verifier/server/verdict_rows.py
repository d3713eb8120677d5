"""What the columns of a verdict hold that are no plain numbers."""

import json
from collections.abc import Sequence

import numpy as np

from sampler.types import IntArray
from verifier.margin_counts import BINS, CANDIDATE_BINS

_COUNT = np.dtype("<u4")


def pack_margins(tokens_b: IntArray, candidates_b: IntArray) -> bytes:
    """A record's row of `MarginCounts`."""
    return np.concatenate([tokens_b, candidates_b]).astype(_COUNT).tobytes()


def sum_margins(rows: Sequence[bytes]) -> tuple[IntArray, IntArray]:
    """The sums of what many records' rows hold: tokens and candidates, each by margin bin.

    Raises:
        ValueError: a row that `pack_margins` did not make.
    """
    counts_rb = np.frombuffer(b"".join(rows), _COUNT).reshape(len(rows), BINS + CANDIDATE_BINS)
    total = counts_rb.sum(axis=0, dtype=np.int64)
    return total[:BINS], total[BINS:]


def json_reasons(reasons: Sequence[str]) -> str | None:
    """Reasons as a column holds them."""
    return json.dumps(list(reasons)) if reasons else None


def reasons_of(column: str | None) -> list[str]:
    """The reasons that a column holds."""
    return [] if column is None else [str(reason) for reason in json.loads(column)]
