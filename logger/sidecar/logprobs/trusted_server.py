"""Client of the trusted vLLM server that gives log probabilities: a transcript's token ids in, theirs out."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec

from weightwarden.logger.sidecar.errors import logprobs_failed
from weightwarden.logger.sidecar.logprobs.scored_token import ScoredToken
from weightwarden.logger.sidecar.metrics import Metrics

ENTRY_BYTES = 512
"""Upper bound of the bytes of one candidate in a response, its text included. It bounds a response's length."""
CONNECT_SECONDS = 10.0
AT_ONCE = 8
"""Largest number of transcripts that are scored at once. Others wait: a response may have some 100 MB."""
ATTEMPTS = 3
RETRY_SECONDS = 0.25
_OVERHEAD_BYTES = 1 << 16
_INLINE_BYTES = 1 << 16
_MOST = 1e-3
"""Largest log probability that rounding explains. Beyond it, the server gives something else."""
_RETRYABLE = frozenset({429, 500, 502, 503, 504})
_Cause = Literal["unreachable", "stalled", "busy", "refused", "malformed", "no log probabilities"]


class _Entry(msgspec.Struct):
    logprob: float


class _Choice(msgspec.Struct):
    prompt_logprobs: list[msgspec.Raw]


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_COMPLETION = msgspec.json.Decoder(_Completion)
_ROW = msgspec.json.Decoder(dict[int, _Entry])


class _Failed(Exception):
    """A failure of the trusted server, in a few fixed words."""

    def __init__(self, cause: _Cause) -> None:
        super().__init__(cause)
        self.cause: _Cause = cause


class TrustedServer:
    """A trusted vLLM server with the weights of the served model, started with `--logprobs-mode raw_logprobs`."""

    def __init__(self, url: str, model: str, *, api_key: str | None, seconds: float, metrics: Metrics) -> None:
        """A client, opened within a running event loop.

        Args:
            url: URL of the server.
            model: the model's name there.
            api_key: API key for the server, or None.
            seconds: seconds that the server may take for one transcript.
            metrics: the operator's metrics.
        """
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._url, self._model, self._metrics = url.rstrip("/").removesuffix("/v1"), model, metrics
        self._free = asyncio.Semaphore(AT_ONCE)
        self._http = aiohttp.ClientSession(
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def score(
        self, token_ids: Sequence[int], *, top: int, first: int = 0, adapter: str | None = None
    ) -> list[ScoredToken]:
        """The log probabilities of a transcript's tokens from position `first` on, in one prefill.

        Args:
            token_ids: the transcript. The server's context must hold one token more.
            top: number of most likely tokens at each position.
            first: position of the first token that is wanted.
            adapter: name of the adapter on the server, or None for the model alone.

        Raises:
            ApiError: the server failed; the words are for the client, and never the server's.
        """
        body = json.dumps(request_body(token_ids, adapter or self._model, top), separators=(",", ":")).encode()
        limit = _OVERHEAD_BYTES + ENTRY_BYTES * (top + 2) * len(token_ids)
        try:
            async with self._free:
                with self._metrics.logprobs_seconds.time():
                    content = await self._tried(body, limit)
                read = partial(scored_tokens, content, token_ids, top, first)
                scored = read() if len(content) <= _INLINE_BYTES else await asyncio.to_thread(read)
        except _Failed as error:
            self._metrics.logprobs_requests.labels(error.cause).inc()
            raise logprobs_failed(error.cause) from None
        self._metrics.logprobs_requests.labels("answered").inc()
        self._metrics.logprobs_prefill_tokens.inc(len(token_ids))
        return scored

    async def _tried(self, body: bytes, limit: int) -> bytes:
        """The content of a response. A failure that may pass is tried again."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._content(body, limit)
            except _Failed as error:
                if error.cause not in ("unreachable", "busy"):
                    raise
                await asyncio.sleep(RETRY_SECONDS * attempt)
        return await self._content(body, limit)

    async def _content(self, body: bytes, limit: int) -> bytes:
        try:
            async with self._http.post(f"{self._url}/v1/completions", data=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise _Failed("busy" if response.status in _RETRYABLE else "refused")
                content = bytearray()
                while block := await response.content.readany():
                    content += block
                    if len(content) > limit:
                        raise _Failed("malformed")
                return bytes(content)
        except TimeoutError:
            raise _Failed("stalled") from None
        except (aiohttp.ClientError, OSError):
            raise _Failed("unreachable") from None


def request_body(token_ids: Sequence[int], model: str, top: int) -> dict[str, Any]:
    """The request for the log probabilities of a transcript: one greedy token after it, which is ignored."""
    return {
        "model": model,
        "prompt": list(token_ids),
        "max_tokens": 1,
        "temperature": 0,
        "add_special_tokens": False,
        "prompt_logprobs": max(1, top),
    }


def scored_tokens(content: bytes, token_ids: Sequence[int], top: int, first: int) -> list[ScoredToken]:
    """The tokens from position `first` on, from the content of a response.

    Raises:
        _Failed: the content has another form, or its numbers are no log probabilities.
    """
    try:
        [choice] = _COMPLETION.decode(content).choices
        rows = choice.prompt_logprobs
        if len(rows) != len(token_ids):
            raise _Failed("malformed")
        given = [ScoredToken(token_ids[0])] if first == 0 else []
        return given + [_scored(rows[at], token_ids[at], top) for at in range(max(1, first), len(rows))]
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyError):
        raise _Failed("malformed") from None


def _scored(row: msgspec.Raw, token: int, top: int) -> ScoredToken:
    entries = [(one, entry.logprob) for one, entry in _ROW.decode(row).items()]
    logprob = dict(entries)[token]
    likely = sorted(entries, key=lambda entry: -entry[1])
    if likely[0][1] > _MOST:
        raise _Failed("no log probabilities")
    if len(likely) < top:
        raise _Failed("malformed")
    return ScoredToken(token, logprob, likely[:top])
