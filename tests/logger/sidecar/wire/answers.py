"""Answers in a form, whole and streamed, and official clients that receive them."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
from hypothesis import strategies as st

from weightwarden.logger.sidecar.reading.parts import (
    AnswerPart,
    CallArguments,
    CallBegin,
    ContentText,
    ReasoningText,
)
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, ChoiceEnd, Head, collected

Tokens = Sequence[Sequence[AnswerPart]]
"""The parts of each token."""


def head(prefix: str = "call_") -> Head:
    return Head(
        request_id="0a1b",
        created=1_800_000_000,
        model="small",
        prompt_tokens=7,
        call_id=lambda choice, begin: begin.own_id or f"{prefix}{choice}{begin.index}",
    )


def ended(tokens: Tokens, finish: str = "stop", stop: str | int | None = None, record: int | None = None) -> ChoiceEnd:
    calls = sum(isinstance(part, CallBegin) for parts in tokens for part in parts)
    return ChoiceEnd(
        finish_reason=finish,
        stop_reason=stop,
        calls=calls,
        tokens=len(tokens),
        reasoning_tokens=2,
        record_index=record,
    )


def whole(form: AnswerForm, tokens: Tokens, end: ChoiceEnd, call_prefix: str = "call_") -> bytes:
    choice = collected(0, [part for parts in tokens for part in parts], end, head(call_prefix))
    return form.whole([choice])


def streamed(form: AnswerForm, tokens: Tokens, end: ChoiceEnd) -> bytes:
    events = form.begin(0)
    for parts in tokens:
        events += form.parts(0, parts)
    return b"".join([*events, *form.end(0, "", end), *form.close([end])])


def events(stream: bytes) -> list[dict[str, Any]]:
    """The bodies of named events, in their order."""
    bodies = []
    for event in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        bodies.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {bodies[-1]['type']}"
    return bodies


class Exchange:
    """A server for official clients that answers every request with one body, and keeps the requests."""

    def __init__(self, answer: Callable[[dict[str, Any]], bytes], status: int = 200) -> None:
        self.requests: list[dict[str, Any]] = []
        self._answer, self._status = answer, status
        self._http = httpx2.Client(transport=httpx2.MockTransport(self._handle))
        self.openai = openai.OpenAI(api_key="key", base_url="http://sidecar/v1", http_client=self._http, max_retries=0)
        self.anthropic = anthropic.Anthropic(
            api_key="key", base_url="http://sidecar", http_client=self._http, max_retries=0
        )

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read())
        self.requests.append(body)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        return httpx2.Response(self._status, content=self._answer(body), headers={"content-type": kind})


TEXTS = st.text(max_size=4)
INPUTS = st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans()))


@st.composite
def token_parts(draw: st.DrawFn, *, any_arguments: bool = True) -> Tokens:
    """Answers of reasoning, text and calls, whose pieces tokens share in any way."""
    parts: list[AnswerPart] = [ReasoningText(text) for text in draw(st.lists(TEXTS, max_size=3))]
    parts += [ContentText(text) for text in draw(st.lists(TEXTS, max_size=3))]
    for index in range(draw(st.integers(0, 3))):
        arguments = json.dumps(draw(INPUTS), ensure_ascii=draw(st.booleans()))
        if any_arguments and draw(st.booleans()):
            at = draw(st.integers(0, len(arguments)))
            arguments = arguments[:at] + draw(st.sampled_from(["", " ", "}", "x", '"', "7", "]"]))
        parts.append(CallBegin(index, draw(st.sampled_from("fg"))))
        ends = sorted({0, len(arguments), *draw(st.lists(st.integers(0, len(arguments)), max_size=3))})
        parts += [CallArguments(index, arguments[a:b]) for a, b in pairwise(ends)]
        parts += [ContentText(text) for text in draw(st.lists(TEXTS, max_size=1))]
    ends = sorted({0, len(parts), *draw(st.lists(st.integers(0, len(parts)), max_size=len(parts)))})
    return [parts[a:b] for a, b in pairwise(ends)] or [[]]
