"""A client that notes when which token of which stream comes."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx2


@dataclass(frozen=True)
class Heard:
    """A token as the client gets it: when, seconds, of which stream, with which text."""

    at: float
    stream: int
    text: str


def listened(url: str, numbers: Sequence[int], tokens: int) -> Iterator[Heard]:
    """The tokens of the hostile source's answers of those numbers, asked for in one request, as they come.

    Args:
        tokens: of each answer.
    """
    body = {
        "model": "source",
        "prompt": [[number, 1] for number in numbers],
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
    }
    with httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=60, trust_env=False) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                [choice] = json.loads(line.removeprefix("data: "))["choices"]
                if choice["finish_reason"] is None or choice["text"]:
                    yield Heard(time.perf_counter(), choice["index"], choice["text"])
