"""HTTP to an OpenAI-compatible server of any engine whose answers are to be verified. None of its claims is trusted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import Field

from weightwarden.text import printable
from weightwarden.verifier.errors import ReplayServerError, UnusableAnswer
from weightwarden.verifier.http_client import JsonClient, PartialModel
from weightwarden.verifier.provider.completion import Completion
from weightwarden.verifier.provider.prompt import Prompt

MAX_ANSWER_BYTES = 64 * 2**20
_BAD_REQUEST = (httpx2.codes.BAD_REQUEST, httpx2.codes.UNPROCESSABLE_CONTENT)


@dataclass(frozen=True)
class Dialect:
    """An engine's form of the parameters that OpenAI's API does not name.

    Attributes:
        top_k_off: value that turns top-k off, or None if the field must not be sent.
        neutral: fields that turn off a server's possible defaults, and request token ids.
    """

    name: str
    top_k_off: int | None
    neutral: Mapping[str, Any]


_TOKEN_IDS = {"return_token_ids": True, "return_tokens_as_token_ids": True}
_LOGPROBS = {"logprobs": True}  # llama.cpp reports token ids there; for completions the number 1
_NO_FILTER = {"top_p": 1.0, "min_p": 0.0}
DIALECTS = (
    Dialect("vLLM, SGLang, llama.cpp", -1, {**_NO_FILTER, "repetition_penalty": 1.0, **_TOKEN_IDS, **_LOGPROBS}),
    Dialect("llama-cpp-python", 0, {**_NO_FILTER, "repeat_penalty": 1.0}),
    Dialect("plain OpenAI", None, {"top_p": 1.0}),
)


class _Model(PartialModel):
    id: str


class _Models(PartialModel):
    data: list[_Model] = Field(min_length=1)


class _Version(PartialModel):
    version: str = Field(min_length=1, max_length=256)


class ProviderClient(JsonClient):
    """An OpenAI-compatible server at a URL.

    The first request finds the form that the server accepts: the first of `DIALECTS`, with prompts as token ids or as
    text, that it does not refuse. All later requests use it.

    Attributes:
        manner: the dialect, and whether prompts are sent as token ids; None before the first answer.
    """

    kind = "an OpenAI-compatible server"
    behind_proxies = True

    def __init__(self, url: str, **how: Any) -> None:
        super().__init__(url, **how)
        self.manner: tuple[Dialect, bool] | None = None

    def served_model(self) -> str:
        """Name of the model that receives the requests: the requested one, else the server's first."""
        if not self._model:
            self._model = self._parsed(_Models, self._json("GET", "/v1/models")).data[0].id
        return self._model

    def stated_version(self) -> str | None:
        """The version that the server states at /version, as vLLM does; None if it states none."""
        try:
            return self._parsed(_Version, self._json("GET", "/version")).version
        except ReplayServerError:
            return None

    def ask(self, question: Prompt, sampling: Mapping[str, Any]) -> Completion:
        """One answer. Filters and penalties that are not requested are off.

        Args:
            sampling: vLLM's names; `top_k` 0 or absent is off.

        Raises:
            UnusableAnswer: the answer is no completion.
            ReplayServerError: the server fails, or refuses every form of the request.
        """
        manners = [self.manner] if self.manner is not None else _manners(question)
        for manner in manners:
            content, refusal = self._posted(*self._request(question, sampling, manner))
            if refusal is None:
                self.manner = manner
                return Completion.parse(content)
        raise ReplayServerError(f"{self.url}: {refusal}")

    def _request(
        self, question: Prompt, sampling: Mapping[str, Any], manner: tuple[Dialect, bool]
    ) -> tuple[str, dict[str, Any]]:
        """Path and body of a request."""
        dialect, by_id = manner
        body = {"model": self.served_model(), **dialect.neutral, **sampling}
        top_k = sampling.get("top_k", 0) or dialect.top_k_off
        body = {name: value for name, value in body.items() if name != "top_k"}
        body |= {} if top_k is None else {"top_k": top_k}
        if question.messages is not None:
            return "/v1/chat/completions", {**body, "messages": list(question.messages)}
        if body.get("logprobs") is True:
            body["logprobs"] = 1
        return "/v1/completions", {**body, "prompt": question.token_ids if by_id else question.text}

    def _posted(self, path: str, body: dict[str, Any]) -> tuple[Any, str | None]:
        """The answer's JSON and None; or None and the reason of a refusal."""

        def attempt() -> tuple[Any, str | None]:
            with self._http.stream("POST", path, json=body) as response:
                said = bytearray()
                for block in response.iter_bytes():
                    said += block
                    if len(said) > MAX_ANSWER_BYTES:
                        raise ReplayServerError(f"{self.url}: answers with more than {MAX_ANSWER_BYTES} bytes")
            if response.status_code in _BAD_REQUEST:
                return None, f"HTTP {response.status_code}: {printable(said.decode(errors='replace')[:300])}"
            if response.status_code != httpx2.codes.OK:
                self._check_status(httpx2.Response(response.status_code, content=bytes(said)))
            return json.loads(said), None

        try:
            return self._tried(attempt)
        except (UnicodeDecodeError, RecursionError):
            raise UnusableAnswer("not a completion: no JSON") from None


def _manners(question: Prompt) -> list[tuple[Dialect, bool]]:
    """The forms of a request, the most exact first."""
    if question.messages is not None:
        return [(dialect, False) for dialect in DIALECTS]
    forms = (True,) if question.text is None else (True, False)
    return [(dialect, by_id) for dialect in DIALECTS for by_id in forms]
