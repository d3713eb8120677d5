"""Columns of a verdict that are not plain numbers."""

import json
from collections.abc import Sequence

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.text import printable
from weightwarden.verifier.scoring.margin_histogram import BINS, CANDIDATE_BINS

_COUNT = np.dtype("<u4")
_RATIO = np.dtype("<f4")
OF_NUMBERS = ("worst tokens", "total", "mismatch")
"""Kinds of reasons that hold only counts and p-values; others may quote stop strings and tokens."""


def pack_margins(tokens_b: IntArray, candidates_b: IntArray) -> bytes:
    """A record's row of `MarginHistogram`."""
    return np.concatenate([tokens_b, candidates_b]).astype(_COUNT).tobytes()


def sum_margins(rows: Sequence[bytes]) -> tuple[IntArray, IntArray]:
    """The sums of many records' rows: tokens and candidates, each by margin bin.

    Raises:
        ValueError: a row was not made by `pack_margins`.
    """
    counts_rb = np.frombuffer(b"".join(rows), _COUNT).reshape(len(rows), BINS + CANDIDATE_BINS)
    total = counts_rb.sum(axis=0, dtype=np.int64)
    return total[:BINS], total[BINS:]


def pack_ratios(log_ratio_k: FloatArray) -> bytes:
    """A record's row of `LikelihoodRatioAccumulator.log_ratio_rk`, which 32 bits hold exactly."""
    return log_ratio_k.astype(_RATIO).tobytes()


def ratios_of(rows: Sequence[bytes], bets: int) -> FloatArray:
    """The ratios [records, bets] in the rows of records.

    An empty row, as that of an unverifiable record or of an earlier version, is 0: no bet is won by it.

    Raises:
        ValueError: a row was not made by `pack_ratios` for so many bets.
    """
    whole = b"".join(row or bytes(bets * _RATIO.itemsize) for row in rows)
    return np.frombuffer(whole, _RATIO).reshape(len(rows), bets).astype(np.float64)


def json_reasons(reasons: Sequence[str]) -> str | None:
    """Reasons in their stored form: each a short line, whatever the record holds."""
    return json.dumps([printable(reason) for reason in reasons]) if reasons else None


def reasons_of(column: str | None, *, with_text: bool) -> list[str]:
    """The reasons in a column. Without text, a reason that may quote the record is reduced to its kind."""
    reasons = [] if column is None else [str(reason) for reason in json.loads(column)]
    return reasons if with_text else [_without_text(reason) for reason in reasons]


def _without_text(reason: str) -> str:
    kind = reason.partition(": ")[0]
    return reason if kind in OF_NUMBERS else kind
