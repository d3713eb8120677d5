"""Answers of a small trusted server of log probabilities, in vLLM's wire form. Its distributions are a formula."""

import hashlib
import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tests.logger.sidecar.scripted_upstream import Answer, response

CANDIDATES = 30


def distribution(token_ids: Sequence[int], at: int) -> dict[int, float]:
    """Log probabilities at a position, the most likely first. The transcript's own token is one of the candidates."""
    seed = hashlib.sha256(json.dumps(list(token_ids[: at + 1])).encode()).digest()
    ids = {token_ids[at], *(100 + int.from_bytes(seed[i : i + 3], "big") % 40_000 for i in range(CANDIDATES - 1))}
    weights = {one: (int(hashlib.sha256(b"%d" % one + seed).hexdigest()[:8], 16) + 1) / 2**28 for one in ids}
    total = sum(weights.values())
    return dict(sorted(((one, math.log(w / total)) for one, w in weights.items()), key=lambda item: -item[1]))


def row(token_ids: Sequence[int], at: int, top: int, shift: float) -> dict[str, dict[str, Any]] | None:
    """A position of `prompt_logprobs` as vLLM writes it: the transcript's own token first."""
    if at == 0:
        return None
    known = distribution(token_ids, at)
    ranked = list(known)
    ids = [token_ids[at], *(one for one in ranked[:top] if one != token_ids[at])]
    return {
        str(one): {"logprob": known[one] + shift, "rank": ranked.index(one) + 1, "decoded_token": "TRUSTED TEXT"}
        for one in ids
    }


def scored(body: dict[str, Any], shift: float = 0.0) -> bytes:
    """The response to a request for log probabilities, by so many nats too large."""
    prompt = body["prompt"]
    rows = [row(prompt, at, body["prompt_logprobs"], shift) for at in range(len(prompt))]
    choice = {"index": 0, "text": "TRUSTED TEXT", "finish_reason": "length", "prompt_logprobs": rows}
    content = json.dumps({"id": "TRUSTED-ID", "choices": [choice], "usage": {"prompt_tokens": len(prompt)}}).encode()
    return response("200 OK", content, content_type="application/json", content_length=str(len(content)))


async def trusted(body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The server's honest answer."""
    yield scored(body)


async def raw_logits(body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The answer of a server that gives logits."""
    yield scored(body, 20.0)


def gives(content: bytes, status: str = "200 OK") -> Answer:
    """An answer with this content, whatever was asked."""

    async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield response(status, content, content_type="application/json", content_length=str(len(content)))

    return answer
