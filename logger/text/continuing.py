"""Tokenizer for text that continues other text."""

import json
from typing import Any

from tokenizers import Tokenizer


def continuing(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, without the space that some put before every text (Llama 2, Mistral, T5).

    It is the inverse of the text of an answer to a prompt, which keeps the space of its first token.
    """
    whole = json.loads(tokenizer.to_str())
    whole["normalizer"] = _without_prefix(whole["normalizer"])
    whole["pre_tokenizer"] = _without_prefix(whole["pre_tokenizer"])
    return Tokenizer.from_str(json.dumps(whole))


def _without_prefix(step: dict[str, Any] | None) -> dict[str, Any] | None:
    if step is None or step["type"] == "Prepend":
        return None
    kept = dict(step)
    for field in ("normalizers", "pretokenizers"):
        if field in kept:
            kept[field] = [rest for one in kept[field] if (rest := _without_prefix(one)) is not None]
    if "prepend_scheme" in kept:
        kept["prepend_scheme"] = "never"
    if kept.get("add_prefix_space"):
        kept["add_prefix_space"] = False
    return kept
