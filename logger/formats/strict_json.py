"""Strict JSON objects: a repeated field is an error, so that all readers agree on the content."""

import json
from collections import Counter
from typing import Any


class _NotStrict(ValueError):
    """JSON that readers could understand differently, or that is no object."""


def strict_object(text: str) -> dict[str, Any]:
    """The JSON object in a text. Numbers that JSON lacks (NaN) are left for the record to refuse.

    Raises:
        ValueError: the text is not JSON (`json.JSONDecodeError`), repeats a field, is nested too deeply, or is no
            object.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise _NotStrict("nested too deeply") from None
    if not isinstance(value, dict):
        raise _NotStrict("not a JSON object")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _NotStrict(f"field {counts.most_common(1)[0][0]!r} appears twice")
    return fields
