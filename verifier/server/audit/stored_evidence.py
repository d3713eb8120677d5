"""The stored evidence of a record: its canonical bytes, and the scores of its tokens, as compressed JSON."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightwarden.logger.formats.canonical import MAX_RECORD_BYTES, decode_record
from weightwarden.logger.record import Record
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.record_verdict import RecordVerdict

MAX_SCORES_BYTES = 256 * 2**20


@dataclass(frozen=True)
class StoredRecord:
    """A record, and one entry a token: verdict, margin (None outside the support), ranks, admissible, bits, others.

    `tokens` has the fields of `verifier.server.api.models.Token`, without id and text; `alternatives` are pairs of
    token id and margin.
    """

    record: Record
    tokens: list[dict[str, Any]]


def is_kept(verdict: RecordVerdict) -> bool:
    """True if a record's tokens are stored: it is flagged, or a token of it is not safe."""
    return verdict.flagged or bool((verdict.tokens.verdict != Verdict.SAFE).any())


def pack_scores(verdict: RecordVerdict | None) -> bytes:
    """The scores of a record's tokens; none for a record that could not be replayed."""
    rows: list[dict[str, Any]] = []
    if verdict is not None:
        tokens = verdict.tokens
        for at in range(len(tokens.margin)):
            margin = float(tokens.margin[at])
            rows.append(
                {
                    "verdict": Verdict(int(tokens.verdict[at])).name.lower(),
                    "margin": margin if np.isfinite(margin) else None,
                    "logit_rank": int(tokens.logit_rank[at]),
                    "gumbel_rank": int(tokens.gumbel_rank[at]),
                    "admissible": int(tokens.admissible[at]),
                    "outside_grammar": bool(tokens.outside_grammar[at]),
                    "charged_bits": float(tokens.charged_bits[at]),
                    "alternatives": verdict.alternatives.get(at, []),
                }
            )
    return zlib.compress(json.dumps(rows, allow_nan=False).encode())


def pack_payload(entry: bytes) -> bytes:
    """A record's canonical bytes, compressed."""
    return zlib.compress(entry)


def unpack(payload: bytes, scores: bytes) -> StoredRecord:
    """The stored record from its compressed parts.

    Raises:
        RecordEncodingError: the canonical bytes are not those of a record.
        ValueError: the scores are malformed.
    """
    return StoredRecord(
        decode_record(_inflated(payload, MAX_RECORD_BYTES)), json.loads(_inflated(scores, MAX_SCORES_BYTES))
    )


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data, most)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("evidence that was not written by this program")
    return plain
