"""A client that records time and stream of each token."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx2


@dataclass(frozen=True)
class Heard:
    """A token at the client: time in seconds, stream, and text."""

    at: float
    stream: int
    text: str


def listened(url: str, numbers: Sequence[int], tokens: int) -> Iterator[Heard]:
    """The tokens of the hostile source's answers of those numbers, requested together, in the order of arrival.

    Args:
        tokens: number of tokens of each answer.
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
