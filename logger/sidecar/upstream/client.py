"""Client of the untrusted inference server. Its token ids and the end of its answer are read, all else is ignored."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import aiohttp
import msgspec

from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.errors import UpstreamError, UpstreamRefusal
from weightwarden.logger.sidecar.upstream.causes import is_refusal
from weightwarden.logger.sidecar.upstream.deadline import Deadline
from weightwarden.logger.sidecar.upstream.event_stream import EventStream

LINE_BYTES = 65_536
"""Longest line of a response, without the bytes for the repeated prompt."""
PROMPT_ID_BYTES = 16
"""Largest size of one prompt id, where a server repeats the prompt in its first event."""
IDLE_BYTES = 1 << 20
READ_BYTES = 1 << 16
CONNECT_SECONDS = 10.0
NAMES, NAME_CHARACTERS = 3, 96
"""Largest number of the server's models that the operator is shown, and of characters of each name."""
_UNSHOWN = re.compile(r"[^A-Za-z0-9_./:@+-]")
ATTEMPTS = 3
RETRY_SECONDS = 0.25
_RETRYABLE = frozenset({429, 500, 502, 503, 504})
_DONE = b"[DONE]"


class _Choice(msgspec.Struct):
    index: int = 0
    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: Annotated[list[_Choice], msgspec.Meta(max_length=1)]


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


_EVENT, _MODELS = msgspec.json.Decoder(_Event), msgspec.json.Decoder(_Models)
"""Decoders that are strict about a few fields and ignore all others."""


@dataclass(slots=True)
class UpstreamDelta:
    """Token ids that the server reports as drawn next.

    Attributes:
        ids: the ids.
        stopped: finish reason that the server reports after them, or None.
    """

    ids: list[int]
    stopped: Literal["stop", "length"] | None


class Upstream:
    """An inference server that speaks vLLM's /v1/completions.

    Attributes:
        others: the first names of models that it listed instead of the one that was asked for, cut and printable.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        vocabulary: int,
        context_length: int,
        api_key: str | None = None,
        first_token: float,
        stall: float,
    ) -> None:
        """A client of one server, opened within a running event loop.

        Args:
            url: URL of the server.
            model: the model's name on the server.
            vocabulary: width of the logits; token ids are below it.
            context_length: tokens of prompt and answer together that the server must accept.
            api_key: API key for the server, or None.
            first_token: seconds that the server may take for its first token.
            stall: seconds that the server may take between two tokens.
        """
        headers = {"accept": "text/event-stream", "content-type": "application/json", "accept-encoding": "identity"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._url, self._model = url.rstrip("/").removesuffix("/v1"), model
        self._vocabulary, self._context_length = vocabulary, context_length
        self._first_token, self._stall = first_token, stall
        self.others: tuple[str, ...] = ()
        self._http = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def draw(self, record: Record, cache_salt: str | None = None) -> AsyncGenerator[UpstreamDelta]:
        """The tokens of one choice as the server draws them, some at a time, until it reports the end.

        A request that fails before its first token is sent again, with the same seed.

        Args:
            record: the choice's record, without tokens.
            cache_salt: salt of the server's prefix cache, or None.

        Raises:
            UpstreamError: the server failed, was lost, or did not answer the request as asked.
        """
        body = request_body(record, self._model, cache_salt)
        longest = LINE_BYTES + PROMPT_ID_BYTES * len(record.prompt_token_ids)
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            try:
                async with aclosing(self._attempt(body, longest)) as attempted:
                    async for drawn in attempted:
                        begun = True
                        yield drawn
                return
            except _Busy as error:
                if begun or attempt == ATTEMPTS:
                    raise error.lasting from None
                await asyncio.sleep(RETRY_SECONDS * attempt)

    async def _attempt(self, body: bytes, longest: int) -> AsyncGenerator[UpstreamDelta]:
        stream = EventStream(longest, IDLE_BYTES)
        try:
            with Deadline(self._first_token) as deadline:
                async with self._http.post(f"{self._url}/v1/completions", data=body, allow_redirects=False) as response:
                    _require_event_stream(response)
                    while block := await response.content.readany():
                        drawn, broken = self._joined(stream.add(block))
                        if drawn.ids or drawn.stopped:
                            stream.progressed()
                            deadline.suspend()  # the wait for the client is not the server's
                            yield drawn
                            deadline.renew(self._stall)
                        if drawn.stopped:
                            return
                        failure = broken or stream.broken
                        if failure is not None:
                            raise failure
            raise UpstreamError("ended early")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise _Busy("unreachable") from None
        except TimeoutError:
            raise UpstreamError("stalled") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError):
            raise _Busy("lost") from None
        except (aiohttp.ClientError, ValueError):
            raise UpstreamError("malformed") from None

    def _joined(self, events: list[bytes]) -> tuple[UpstreamDelta, UpstreamError | None]:
        """Several events as one delta, up to the event that ends the answer or is malformed (returned as an error)."""
        ids: list[int] = []
        broken: UpstreamError | None = None
        stopped: Literal["stop", "length"] | None = None
        for data in events:
            if data == _DONE:
                broken = UpstreamError("ended early")
                break
            try:
                event = _EVENT.decode(data)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                broken = UpstreamError("malformed")
                break
            for choice in event.choices:
                if choice.index != 0:
                    broken = UpstreamError("malformed")
                    break
                ids += choice.token_ids or ()
                if choice.finish_reason in ("stop", "length"):
                    stopped = "stop" if choice.finish_reason == "stop" else "length"
                elif choice.finish_reason is not None:
                    broken = UpstreamError("gave up")
            if broken or stopped:
                break
        if ids and not 0 <= min(ids) <= max(ids) < self._vocabulary:
            at = next(at for at, token in enumerate(ids) if not 0 <= token < self._vocabulary)
            return UpstreamDelta(ids[:at], None), UpstreamError("outside the vocabulary")
        return UpstreamDelta(ids, stopped), broken

    async def check(self) -> str | None:
        """The reason why the server cannot be asked now, for the operator; None if it responds and serves the model."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                async with self._http.get(f"{self._url}/v1/models", allow_redirects=False) as response:
                    if response.status != 200:
                        return f"answers /v1/models with status {response.status}"
                    content = b""
                    while len(content) < IDLE_BYTES and (block := await response.content.readany()):
                        content += block
            served = {model.id: model.max_model_len for model in _MODELS.decode(content).data}
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "cannot be reached"
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return "answers /v1/models with something else"
        if self._model not in served:
            self.others = tuple(_UNSHOWN.sub("?", name[:NAME_CHARACTERS]) for name in list(served)[:NAMES])
            return "serves another model (--upstream-model)"
        longest = served[self._model]
        if longest is not None and longest < self._context_length:
            return (
                f"has a shorter context than the {self._context_length} tokens of this sidecar: give both the same"
                " --max-model-len"
            )
        return None


class _Busy(UpstreamError):
    """A failure that may pass. `lasting` is the error to raise if it does not."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        refused = status is not None and is_refusal(status)
        self.lasting = UpstreamRefusal(status) if refused and status is not None else UpstreamError(reason)


def request_body(record: Record, model: str, cache_salt: str | None = None) -> bytes:
    """The request to the server for one choice, which leaves nothing to its defaults (docs/sampling.md, section 7.3).

    Stop strings are not sent: the sidecar matches them in its own text.

    Args:
        record: the choice's record, without tokens.
        model: the model's name on the server. A record with an adapter names the adapter instead.
        cache_salt: salt of the server's prefix cache, or None. It does not affect the draw.
    """
    fields: dict[str, Any] = {
        "model": model if record.adapter is None else record.adapter.name,
        "prompt": record.prompt_token_ids,
        "n": 1,
        "stream": True,
        "return_token_ids": True,
        "add_special_tokens": False,
        "echo": False,
        "watermarking": False,
        "max_tokens": record.sampling.max_tokens,
        "stop": [],
        **request_sampling(record),
    }
    if cache_salt is not None:
        fields["cache_salt"] = cache_salt
    return json.dumps(fields, separators=(",", ":")).encode()


def _require_event_stream(response: aiohttp.ClientResponse) -> None:
    """Refuse a response that is no plain event stream."""
    if response.status in _RETRYABLE:
        raise _Busy(f"status {response.status}", response.status)
    if is_refusal(response.status):
        raise UpstreamRefusal(response.status)
    if response.status != 200:
        raise UpstreamError(f"status {response.status}" if response.status in range(300, 600) else "malformed")
    if response.content_type != "text/event-stream":
        raise UpstreamError("wrong content type")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamError("compressed")
