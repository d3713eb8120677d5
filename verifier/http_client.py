"""HTTP to a server with JSON answers: retried where that can help, and never a partial answer."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import ijson
import tenacity
from pydantic import BaseModel, ConfigDict, ValidationError

from weightwarden.text import printable
from weightwarden.verifier.errors import ReplayServerError, RequestRefused

ATTEMPTS = 4
FIRST_WAIT, MAX_WAIT = 0.5, 10.0
"""Seconds between attempts; doubled each time."""

Answer = TypeVar("Answer")
Part = TypeVar("Part", bound="PartialModel")


class PartialModel(BaseModel):
    """A part of a server's answer; further fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Retryable(Exception):
    """A temporary failure: the server is busy or restarting, or the connection broke."""


class JsonClient:
    """A server at a URL. Safe for concurrent use; every method raises `ReplayServerError` on a permanent failure.

    A failed request is tried `ATTEMPTS` times in all, unless configured otherwise, where a retry can help. It never
    becomes an empty or partial answer.

    Attributes:
        kind: name of the kind of server in messages.
        behind_proxies: whether the environment's proxies are used. A verifier's own server has none in between.
    """

    kind = "a server"
    behind_proxies = False

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 600.0,
        connections: int = 16,
        model: str = "",
        socket: Path | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """A client.

        Args:
            url: URL of the server.
            api_key: API key of the server.
            timeout: seconds for one answer.
            connections: largest number of connections.
            model: name of the requested model.
            socket: the Unix socket of the server, for any host in the URL.
            attempts: number of attempts of a request where a retry can help.
        """
        if not re.match(r"https?://", url):
            raise ReplayServerError(f"{printable(url)}: not an http:// or https:// URL")
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url.rstrip("/").removesuffix("/v1")
        self._model = model
        self._attempts = attempts
        limits = httpx2.Limits(max_connections=connections)
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=10.0),
            limits=limits,
            trust_env=self.behind_proxies,
            transport=None if socket is None else httpx2.HTTPTransport(uds=str(socket), limits=limits),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop all connections. Requests under way fail."""
        self._http.close()

    def _parsed(self, kind: type[Part], content: Any) -> Part:
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise ReplayServerError(
                f"{self.url}: not the answer of {self.kind}: {printable(field)}: {first['msg']}"
            ) from None

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        def attempt() -> Any:
            response = self._http.request(method, path, json=body)
            self._check_status(response)
            return response.json()

        return self._tried(attempt)

    def _sent(self, method: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        """A response whose status does not justify a retry."""

        def attempt() -> httpx2.Response:
            response = self._http.request(method, path, json=body)
            if response.status_code != httpx2.codes.BAD_REQUEST:
                self._check_status(response)
            return response

        return self._tried(attempt)

    def _check_status(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status == httpx2.codes.OK:
            return
        what = printable(_message(response))
        if status in (httpx2.codes.REQUEST_TIMEOUT, httpx2.codes.TOO_MANY_REQUESTS) or status >= 500:
            raise _Retryable(f"HTTP {status}: {what}")
        raise RequestRefused(f"{self.url}: HTTP {status}: {what}")

    def _tried(self, attempt: Callable[[], Answer]) -> Answer:
        """The attempt's result, after retries of temporary failures."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (_Retryable, httpx2.TransportError, ijson.JSONError, json.JSONDecodeError)
            ),
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=tenacity.wait_exponential(FIRST_WAIT, MAX_WAIT),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except httpx2.ConnectError as error:
            raise ReplayServerError(f"{self.url}: cannot be reached: {printable(str(error))}") from error
        except httpx2.TimeoutException as error:
            raise ReplayServerError(f"{self.url}: gave no answer in time ({type(error).__name__})") from error
        except (_Retryable, httpx2.TransportError, ijson.JSONError, json.JSONDecodeError) as error:
            why = printable(str(error)) or type(error).__name__
            raise ReplayServerError(f"{self.url}: failed {self._attempts} times, last: {why}") from error


def _message(response: httpx2.Response) -> str:
    """Message of an error response, at most 300 characters."""
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
