"""A well-formed record to break, one field at a time."""

import json
from typing import Any


def fields() -> dict[str, Any]:
    """The JSON fields of a record as vLLM's answers give them."""
    return {
        "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-cpu"},
        "model": "SmolLM2-135M-Instruct",
        "prompt_token_ids": [1, 9690, 198],
        "output_token_ids": [504, 43471, 2],
        "seed": 10000,
        "choice_index": 0,
        "sampling": {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "max_tokens": 128},
        "finish_reason": "stop",
        "stop_reason": None,
    }


def edited(**changes: Any) -> dict[str, Any]:
    """The fields with some replaced, at the top level."""
    return {**fields(), **changes}


def without(name: str) -> dict[str, Any]:
    """The fields but one of the top level."""
    return {key: value for key, value in fields().items() if key != name}


def sampled(**changes: Any) -> dict[str, Any]:
    """The fields with some of `sampling` replaced."""
    return edited(sampling={**fields()["sampling"], **changes})


def of_engine(**changes: Any) -> dict[str, Any]:
    """The fields with some of `engine` replaced."""
    return edited(engine={**fields()["engine"], **changes})


def line_of(record: dict[str, Any]) -> bytes:
    """One line of a traffic file."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
