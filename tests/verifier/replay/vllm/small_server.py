"""A small server that speaks vLLM's HTTP over a model of a few formulas, for what a real one does too seldom.

It samples as vLLM on a CPU does (`vllm-cpu` noise, bfloat16 logits), counts what it was asked, and fails as it is told.
The real server is tested by `make test-vllm`.
"""

import contextlib
import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.http_server import serving
from tests.verifier.candidates.drawn_masks import allowed_tokens, constrained
from weightwarden.logger.record import Engine, Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.model.identity import ModelIdentity

V = 1200
EOS = 2
IDENTITY = ModelIdentity(
    path=Path("small"), digest="sha256:" + "5" * 64, vocabulary=V, context_length=None, eos_ids=(EOS,), dtype="bfloat16"
)


def logits_after(token_ids: Sequence[int]) -> NDArray[np.float32]:
    """bfloat16 logits [V] after a prefix; a formula of its last four tokens."""
    return _logits_of(tuple(token_ids[-4:]))


@functools.lru_cache(maxsize=8192)
def _logits_of(last: tuple[int, ...]) -> NDArray[np.float32]:
    seed = hashlib.sha256(str(last).encode()).digest()
    values = 3 * np.random.default_rng(list(seed)).normal(size=V).astype(np.float32)
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


def draw(
    prompt: Sequence[int],
    seed: int,
    count: int,
    sampling: SamplingParams,
    *,
    stops: bool = True,
    expression: str | None = None,
) -> list[int]:
    """The answer that an honest server gives, by enumeration; under the grammar of an expression if there is one."""
    noise = gumbel_noise("vllm-cpu", V)
    keys = noise.keys(seed, len(prompt), count)
    output: list[int] = []
    for t in range(count):
        logits = logits_after([*prompt, *output]).astype(np.float64)
        if expression is not None:
            logits[~allowed_tokens(expression, t, V)] = -np.inf
        order = np.sort(logits)[::-1]
        if 0 < sampling.top_k < V:
            logits[logits < order[sampling.top_k - 1]] = -np.inf
        if sampling.top_p < 1:
            mass = np.exp(np.sort(logits)[::-1] - order[0])
            above = np.concatenate([[0.0], np.cumsum(mass)])[(order[:, None] > logits).sum(axis=0)] / mass.sum()
            logits[above >= sampling.top_p] = -np.inf
        g = noise.at(keys[t : t + 1], np.arange(V)[None])[0]
        output.append(int((logits if sampling.is_greedy else logits + g).argmax()))
        if output[-1] == EOS and stops:
            break
    return output


def record(
    prompt: Sequence[int],
    seed: int,
    count: int = 40,
    output: Sequence[int] | None = None,
    expression: str | None = None,
    **sampling: Any,
) -> Record:
    """A record of the small server; honest unless an output is given."""
    params = SamplingParams(max_tokens=count, **sampling)
    tokens = draw(prompt, seed, count, params, expression=expression) if output is None else list(output)
    plain = Record(
        engine=Engine(name="vllm", version="0.32.0", sampler="vllm-cpu"),
        model="small",
        prompt_token_ids=list(prompt),
        output_token_ids=tokens,
        seed=seed,
        choice_index=0,
        sampling=params,
        finish_reason="stop" if tokens[-1] == EOS else "length",
        stop_reason=None,
    )
    return plain if expression is None else constrained(plain, expression)


@dataclass
class Behaviour:
    """What the server is, and how it misbehaves.

    Attributes:
        prefill_noise: logits by which scoring differs from drawing, at every other position.
        change: alters the content of an answer before it is sent.
        fail: status and body instead of an answer, for the request of that number (from 0), or None.
        cut: sends only this share of each completion's body.
        key: the API key without which it answers nobody.
        ends_on: its process ends when it is asked about a transcript that ends so.
        batch_noise: logits by which each answer differs when another request is under way at the same time.
        batch_tokens: draws with another seed then.
        offset: logits by which all logits differ from numbers of bfloat16.
        adapters: names of low-rank adapters that it serves, which change nothing.
    """

    version: str = "0.32.0"
    most: int = V
    context: int = 512
    log_probabilities: bool = False
    prefill_noise: float = 0.0
    change: Callable[[Any], Any] = lambda content: content
    fail: Callable[[int], tuple[int, str] | None] = lambda number: None
    cut: Callable[[int], float] = lambda number: 1.0
    key: str | None = None
    ends_on: Sequence[int] | None = None
    batch_noise: float = 0.0
    batch_tokens: bool = False
    offset: float = 0.0
    adapters: Sequence[str] = ()
    asked: list[dict[str, Any]] = field(default_factory=list)


class _Batch:
    """The requests that are under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._size = 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[bool]:
        """Whether another request is, or soon comes to be, under way while this one is."""
        with self._changed:
            self._size += 1
            self._changed.notify_all()
            among_others = self._changed.wait_for(lambda: self._size > 1, timeout=0.05)
        try:
            yield among_others
        finally:
            with self._changed:
                self._size -= 1


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour
    lock: threading.Lock
    batch: _Batch

    def log_message(self, *arguments: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.path == "/version":
            self._send(200, json.dumps({"version": self.behaviour.version}))
        else:
            model = {"id": "small", "max_model_len": self.behaviour.context, "parent": None}
            adapters = [{"id": name, "max_model_len": None, "parent": "small"} for name in self.behaviour.adapters]
            self._send(200, json.dumps({"data": [*adapters, model]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._allowed():
            return
        with self.lock:
            number = len(self.behaviour.asked)
            self.behaviour.asked.append(body)
        ends_on = self.behaviour.ends_on
        if ends_on is not None and body["prompt"][-len(ends_on) :] == ends_on:
            os._exit(1)
        failure = self.behaviour.fail(number)
        if failure is not None:
            self._send(*failure)
            return
        if self.behaviour.batch_noise or self.behaviour.batch_tokens:
            with self.batch.joined() as among_others:
                if among_others and self.behaviour.batch_tokens:
                    body["seed"] = body.get("seed", 0) + 1
                status, content = self._completion(body, self.behaviour.batch_noise if among_others else 0.0)
        else:
            status, content = self._completion(body)
        self._send(status, json.dumps(content), self.behaviour.cut(number))

    def _allowed(self) -> bool:
        """Whether the request has the key; otherwise it is refused."""
        key = self.behaviour.key
        if key is None or self.headers["authorization"] == f"Bearer {key}":
            return True
        self._send(401, json.dumps({"error": "Unauthorized"}))
        return False

    def _completion(self, body: dict[str, Any], shift: float = 0.0) -> tuple[int, Any]:
        tokens, most = body["prompt"], self.behaviour.most
        for name in ("prompt_logprobs", "logprobs"):
            if body.get(name, 0) > most:
                what = f"Requested {name} of {body[name]}, which is greater than max allowed: {most}"
                return 400, {"error": {"message": what, "code": 400}}
        if len(tokens) + body["max_tokens"] > self.behaviour.context:
            return 400, {"error": {"message": "longer than the maximum model length", "code": 400}}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        drawn: list[int] = []
        if body.get("return_token_ids"):
            params = SamplingParams(**{name: body[name] for name in ("temperature", "top_k", "top_p") if name in body})
            stops = not body.get("ignore_eos", False)
            drawn = draw(
                tokens,
                body.get("seed", 0),
                body["max_tokens"],
                params,
                stops=stops,
                expression=body.get("structured_outputs", {}).get("regex"),
            )
            choice["token_ids"] = drawn
        if "prompt_logprobs" in body:
            rows = [None, *(self._row(tokens, at, body["prompt_logprobs"], shift) for at in range(1, len(tokens)))]
            choice["prompt_logprobs"] = rows
        if "logprobs" in body:
            top = []
            for at in range(max(1, len(drawn))):
                values = self._values([*tokens, *drawn[:at]]) + np.float32(shift)
                ids = body.get("logprob_token_ids") or np.argsort(-values, kind="stable")[: body["logprobs"]].tolist()
                top.append({f"token_id:{i}": float(values[i]) for i in {*ids, *drawn[at : at + 1]}})
            choice["logprobs"] = {"top_logprobs": top}
        return 200, self.behaviour.change({"choices": [choice]})

    def _values(self, prefix: Sequence[int]) -> NDArray[np.float32]:
        logits = logits_after(prefix) + np.float32(self.behaviour.offset)
        if self.behaviour.prefill_noise and len(prefix) % 2:
            noise = np.random.default_rng(len(prefix)).normal(size=V).astype(np.float32)
            logits = (logits + self.behaviour.prefill_noise * noise).astype(np.float32)
        if not self.behaviour.log_probabilities:
            return logits
        shifted: NDArray[np.float32] = logits - np.float32(np.log(np.exp(logits.astype(np.float64)).sum()))
        return shifted

    def _row(self, tokens: Sequence[int], at: int, top: int, shift: float) -> dict[str, Any]:
        values = self._values(tokens[:at]) + np.float32(shift)
        own = tokens[at]
        ids = np.argsort(-values, kind="stable")[:top].tolist()
        row = {str(own): {"logprob": float(values[own]), "rank": int((values >= values[own]).sum())}}
        for rank, i in enumerate(ids, start=1):
            row.setdefault(str(i), {"logprob": float(values[i]), "rank": rank})
        return row

    def _send(self, status: int, text: str, share: float = 1.0) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has had enough
            self.wfile.write(content[: int(share * len(content))])
        if share < 1:
            self.close_connection = True


def small_server(behaviour: Behaviour) -> AbstractContextManager[str]:
    """The URL of a running small server."""
    return serving(handler_of(behaviour))


def handler_of(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    """What serves."""
    return type("Handler", (_Handler,), {"behaviour": behaviour, "lock": threading.Lock(), "batch": _Batch()})
