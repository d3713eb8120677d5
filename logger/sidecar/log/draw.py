"""The identity of a draw: requests for which the engine would take the same tokens under the same seed."""

import hashlib
import json
from typing import Any

import numpy as np

from weightwarden.logger.record import Record


def draw_digest(asked: Record, vocabulary: int) -> bytes:
    """SHA-256 of all that decides which token the engine draws at each position, the seed aside.

    Two requests that differ only in what cuts nothing have one digest:

    1. Where an answer ends (`stop`, `max_tokens`; stop ids and `ignore_eos` while no `min_tokens` keeps them away) and
       how its text looks draw nothing.
    2. Filters at their neutral value are none, however that is said: `top_k` -1, 0 or all of the vocabulary.
    3. Order and repetition in sets of ids, and biases of 0, change nothing; all ids allowed are no restriction.
    4. Numbers are taken as the engine's float32.

    Args:
        asked: the record before it has an answer. vocabulary: ids that the engine draws from.
    """
    sampling = asked.sampling
    allowed = sorted(set(sampling.allowed_token_ids or ()))
    fields: dict[str, Any] = {
        "engine": asked.engine.model_dump(),
        "model": asked.model,
        "choices": sampling.n or 1,
        "top_k": sampling.top_k if 0 < sampling.top_k < vocabulary else 0,
        "bias": sorted((token, _float32(bias)) for token, bias in sampling.logit_bias.items() if _float32(bias)),
        "allowed": allowed if len(allowed) < vocabulary else [],
        "bad_words": sorted(set(sampling.bad_words)),
    }
    for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"):
        fields[name] = _float32(getattr(sampling, name))
    if sampling.min_tokens:
        kept_away = sorted(set(sampling.stop_token_ids))
        fields["min_tokens"] = (sampling.min_tokens, kept_away, sampling.ignore_eos)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(b"\n" + np.asarray(asked.prompt_token_ids, "<i4").tobytes())
    return digest.digest()


def _float32(value: float) -> float:
    """A number as the engine has it; zero without a sign."""
    return float(np.float32(value)) + 0.0
