"""A small OpenAI-compatible server that really samples, by a scheme, from logits of a formula or of a model."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tests.http_server import serving
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.types import FloatArray
from weightwarden.sampler.uniforms import draft_uniforms, inverse_cdf_uniforms
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

Logits = Callable[[Sequence[int]], NDArray[np.float32]]
"""Raw logits [V] after a prefix."""
Draw = Callable[[Logits, Sequence[int], dict[str, Any], int], list[int]]
"""The answer to a prompt, with parameters and a number of tokens."""


class ModelLogits:
    """Logits of a loaded model, one token at a time where a prefix goes on."""

    def __init__(self, replayer: TransformersReplayer) -> None:
        self._model: Any = replayer.model
        self._prefix: list[int] = []
        self._cache: Any = None

    @torch.no_grad()
    def __call__(self, prefix: Sequence[int]) -> NDArray[np.float32]:
        new = list(prefix[len(self._prefix) :])
        if self._cache is None or not new or list(prefix[: len(self._prefix)]) != self._prefix:
            self._cache, new = transformers.DynamicCache(config=self._model.config), list(prefix)
        found = self._model(input_ids=torch.tensor([new]), past_key_values=self._cache, use_cache=True)
        self._prefix = list(prefix)
        values: NDArray[np.float32] = found.logits[0, -1].float().numpy()
        return values


def drawing(scheme_name: str) -> Draw:
    """Sampling as a scheme says, over the whole vocabulary and with every filter by enumeration."""

    def draw(logits: Logits, prompt: Sequence[int], sampling: dict[str, Any], count: int) -> list[int]:
        temperature, seed = sampling["temperature"], sampling["seed"]
        of_everything = False
        name = scheme_name
        if name in ("sglang", "sglang-ranked"):  # one engine: it ranks where requests are filtered
            of_everything = sampling.get("top_k", 0) > 0 or sampling.get("top_p", 1.0) < 1
            name = "sglang-ranked" if of_everything else "sglang"
        output: list[int] = []
        keys = noise = None
        uniforms = inverse_cdf_uniforms(seed, count)
        for position in range(count):
            values = logits([*prompt, *output]).astype(np.float64)
            if temperature == 0:
                output.append(int(values.argmax()))
                continue
            before = scheme(scheme_name).filters_before_temperature
            order, kept = filtered(values / (1.0 if before else temperature), sampling, of_everything=of_everything)
            if scheme_name == "inverse-cdf":
                order = order if sampling.get("top_k", 0) > 0 or sampling.get("top_p", 1.0) < 1 else np.sort(order)
                order = order[kept[order]]
                running = np.cumsum(np.exp((values[order] - values.max()) / temperature))
                output.append(int(order[(running >= running[-1] * uniforms[position]).argmax()]))
                continue
            if noise is None:
                noise = gumbel_noise(name, len(values))
                keys = noise.keys(seed, len(prompt), count)
            assert keys is not None
            columns = np.arange(len(values))
            if noise.by_rank:
                columns = np.argsort(order)
            g = noise.at(keys[position : position + 1], columns[None])[0]
            if scheme(name).speculates:  # the likeliest token is drafted
                draft = int(values.argmax())
                weights = np.where(kept, np.exp((values - values.max()) / temperature), 0.0)
                if weights[draft] / weights.sum() > draft_uniforms(seed, len(prompt), count)[position]:
                    output.append(draft)
                    continue
                kept[draft] = False
            output.append(int(np.where(kept, values / temperature + g, -np.inf).argmax()))
        return output

    return draw


def numpy_drawing(logits: Logits, prompt: Sequence[int], sampling: dict[str, Any], count: int) -> list[int]:
    """Seeded sampling of an engine that nobody knows: NumPy's own generator."""
    generator = np.random.default_rng(sampling["seed"])
    output: list[int] = []
    for _ in range(count):
        values = logits([*prompt, *output]).astype(np.float64)
        if sampling["temperature"] == 0:
            output.append(int(values.argmax()))
            continue
        _, kept = filtered(values / sampling["temperature"], sampling)
        weights = np.where(kept, np.exp((values - values.max()) / sampling["temperature"]), 0.0)
        output.append(int(generator.choice(len(values), p=weights / weights.sum())))
    return output


def filtered(
    values: FloatArray, sampling: dict[str, Any], *, of_everything: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Token ids by falling logit, and which of all tokens top-k and then top-p keep.

    Args:
        of_everything: top-p counts the mass of all tokens, not of what top-k keeps.
    """
    order = np.argsort(-values, kind="stable")
    kept = np.zeros(len(values), np.bool_)
    top_k = sampling.get("top_k", 0)
    count = top_k if top_k > 0 else len(values)
    weights = np.exp(values[order[:count]] - values.max())
    total = np.exp(values - values.max()).sum() if of_everything else weights.sum()
    above = (np.cumsum(weights) - weights) / total
    kept[order[:count][above < sampling.get("top_p", 1.0)]] = True
    return order, kept


@dataclass
class Serving:
    """What the server is.

    Attributes:
        encode, decode: of its tokenizer. draw: how it samples.
        tells_ids: whether it gives token ids. takes_ids: whether a prompt may be token ids. known: fields that it does
            not refuse, or None for all. overrides: parameters that it uses instead of those asked for.
        alter: changes an answer before it is sent. end: token at which an answer ends, not told as text.
        asked: bodies of all requests.
    """

    logits: Logits
    draw: Draw
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    tells_ids: bool = True
    takes_ids: bool = True
    known: frozenset[str] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    alter: Callable[[dict[str, Any]], Any] = lambda content: content
    end: int | None = None
    render: Callable[[list[dict[str, str]]], list[int]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and content."""
        self.asked.append(body)
        if self.known is not None and not body.keys() <= self.known:
            return 400, {"error": {"message": f"unknown fields {sorted(body.keys() - self.known)}"}}
        if isinstance(body.get("prompt"), list) and not self.takes_ids:
            return 422, {"detail": "prompt: a string is wanted"}
        chat = "messages" in body
        if chat:
            assert self.render is not None
            prompt = self.render(body["messages"])
        else:
            prompt = body["prompt"] if isinstance(body["prompt"], list) else self.encode(body["prompt"])
        output = self.draw(self.logits, prompt, {"seed": 0, **body, **self.overrides}, body["max_tokens"])
        reason = "length"
        if self.end in output:
            output, reason = output[: output.index(self.end) + 1], "stop"
        text = self.decode(output[:-1] if reason == "stop" else output)
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if self.tells_ids:
            choice |= {"token_ids": output, "prompt_token_ids": prompt}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(output)}
        return 200, self.alter({"choices": [choice], "usage": usage})


class _Handler(BaseHTTPRequestHandler):
    server_side: Serving

    def log_message(self, *arguments: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "served", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server_side.lock:
            self._send(*self.server_side.answer(body))

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def provider_server(server_side: Serving) -> Iterator[str]:
    """The URL of a running server."""
    with serving(type("Handler", (_Handler,), {"server_side": server_side})) as url:
        yield url
