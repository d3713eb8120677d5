"""Attackers who own the inference server, simulated on recorded answers.

Each maps an honest record to the record that the trusted logger would have written if the server had cheated.
"""

from collections.abc import Callable

import numpy as np

from weightwarden.logger.record import Record


def replace_answer(record: Record, vocabulary: int, rng: np.random.Generator) -> Record:
    """An answer with log2 V payload bits in every output token."""
    payload = rng.integers(0, vocabulary, len(record.output_token_ids)).tolist()
    return record.model_copy(update={"output_token_ids": payload, "finish_reason": "length", "stop_reason": None})


def splice_payload(record: Record, vocabulary: int, rng: np.random.Generator, count: int = 10) -> Record:
    """An answer with `count` successive payload tokens in the middle; the rest is unchanged."""
    output = list(record.output_token_ids)
    count = min(count, len(output) - 1)
    start = int(rng.integers(0, len(output) - count))
    output[start : start + count] = rng.integers(0, vocabulary, count).tolist()
    return record.model_copy(update={"output_token_ids": output})


def scatter_payload(record: Record, vocabulary: int, rng: np.random.Generator, count: int = 10) -> Record:
    """An answer with `count` payload tokens anywhere but at its end."""
    output = list(record.output_token_ids)
    places = rng.choice(len(output) - 1, min(count, len(output) - 1), replace=False)
    for place in places:
        output[int(place)] = int(rng.integers(0, vocabulary))
    return record.model_copy(update={"output_token_ids": output})


def lie_about_seed(record: Record, vocabulary: int, rng: np.random.Generator) -> Record:
    """An answer that was drawn with another seed than that of the log."""
    del vocabulary
    return record.model_copy(update={"seed": int(rng.integers(0, 2**31))})


def cut_short(record: Record, vocabulary: int, rng: np.random.Generator) -> Record:
    """An answer that ends early with finish reason "stop": its length carries log2 of its original length."""
    del vocabulary
    keep = int(rng.integers(1, len(record.output_token_ids)))
    cut = record.output_token_ids[:keep]
    return record.model_copy(update={"output_token_ids": cut, "finish_reason": "stop", "stop_reason": None})


def forge_end(record: Record, vocabulary: int, rng: np.random.Generator, end: int = 2) -> Record:
    """An answer that is cut short, with an end-of-sequence token that was never drawn as its end."""
    cut = cut_short(record, vocabulary, rng)
    return cut.model_copy(update={"output_token_ids": [*cut.output_token_ids[:-1], end]})


ATTACKS: dict[str, Callable[[Record, int, np.random.Generator], Record]] = {
    "replaced answer": replace_answer,
    "ten spliced payload tokens": splice_payload,
    "ten scattered payload tokens": scatter_payload,
    "wrong seed": lie_about_seed,
    "cut short": cut_short,
    "forged end": forge_end,
}
"""The attackers by name."""
