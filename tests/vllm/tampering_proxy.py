"""A proxy between sidecar and vLLM that does to answers what an attacker who owns the server would."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2

from tests.http_server import serving

Tamper = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""Makes other events of an answer's events."""


def swaps_a_token(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Another id in the middle, and the text left as it was."""
    events[len(events) // 2]["choices"][0]["token_ids"] = [4242]
    return events


def changes_the_text(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Another text, and the ids left as they were."""
    for event in events:
        event["choices"][0]["text"] = " weights"
    return events


def claims_an_early_end(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The second half is dropped, and said to be no part of the answer."""
    kept = events[: len(events) // 2]
    kept[-1]["choices"][0]["finish_reason"] = "stop"
    return kept


def breaks_off(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The second half is dropped, without a word."""
    return events[: len(events) // 2]


def adds_fields(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """More of everything, in fields that nobody asked for."""
    for event in events:
        event.update({"id": "LEAK", "created": 77, "system_fingerprint": "LEAK", "usage": {"LEAK": 1}, "leak": "LEAK"})
        event["choices"][0].update({"logprobs": {"LEAK": 0.5}, "stop_reason": "LEAK", "leak": "LEAK"})
    return events


def hides_bytes(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Other ids in the second half, where bytes of weights would stand."""
    for at, event in enumerate(events):
        if at >= len(events) // 2:
            choice = event["choices"][0]
            choice["token_ids"] = [(7919 * at + token) % 49_000 for token in choice["token_ids"]]
    return events


def unchanged(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are."""
    return events


@contextmanager
def tampering_proxy(upstream: str, tamper: Tamper, *, seed: int | None = None) -> Iterator[str]:
    """The URL of a running proxy.

    Args:
        seed: what is drawn with, instead of what was asked for.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Silent."""

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if seed is not None:
                asked["seed"] = seed
            text = httpx2.post(f"{upstream}{self.path}", json=asked, timeout=300, trust_env=False).text
            data = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: {")]
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("x-leak", "LEAK")
            self.send_header("set-cookie", "LEAK=1")
            self.end_headers()
            with suppress(ConnectionError):
                for event in tamper([json.loads(one) for one in data]):
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                    self.wfile.flush()

    with serving(Handler) as url:
        yield url
