"""Digest of a draw: equal for requests whose tokens the engine would draw alike under the same seed."""

import hashlib
import json
from typing import Any

import numpy as np

from weightwarden.logger.record import Record


def draw_digest(asked: Record, vocabulary: int) -> bytes:
    """SHA-256 of everything but the seed that decides the token of each position.

    Requests have the same digest if they differ only in fields without effect on the draw:

    1. The end of an answer (`stop`, `max_tokens`; stop ids and `ignore_eos` without `min_tokens`, which masks them) and
       the form of its text do not affect the draw.
    2. A filter at its neutral value is absent, in every spelling: `top_k` -1, 0 or the whole vocabulary.
    3. The order and repetition of ids in a set, and biases of 0, have no effect. Allowing all ids is no restriction.
    4. Numbers are rounded to the engine's float32.

    A grammar counts by its text: texts of one meaning differ. Reasoning counts where it has a budget, whose forced end
    decides the tokens after it.

    Args:
        asked: the record without an answer.
        vocabulary: number of token ids that the engine draws from.
    """
    sampling = asked.sampling
    allowed = sorted(set(sampling.allowed_token_ids or ()))
    fields: dict[str, Any] = {
        "engine": asked.engine.model_dump(exclude_none=True),
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
    if asked.adapter is not None:
        fields["adapter"] = asked.adapter.digest
    if asked.grammar is not None:
        fields["grammar"] = asked.grammar.model_dump()
    if asked.reasoning is not None and asked.reasoning.budget is not None:
        fields["reasoning"] = asked.reasoning.model_dump(exclude={"stops_inside"})
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(b"\n" + np.asarray(asked.prompt_token_ids, "<i4").tobytes())
    return digest.digest()


def _float32(value: float) -> float:
    """A number rounded to the engine's float32, with zero unsigned."""
    return float(np.float32(value)) + 0.0
