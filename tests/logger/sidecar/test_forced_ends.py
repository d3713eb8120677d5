"""Reasoning that the sidecar ends at its budget: what clients get, what the server is asked, what is on record."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.running import ORIGIN, Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, drawn, event, honest, response
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Reasoning, Record
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.log.recorder import DraftRecorder, recover
from weightwarden.logger.sidecar.wire.requests import CompletionRequest, GenerationRequest
from weightwarden.logger.store.draft import Draft
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter

BUDGET = 6
END = "\n</think>\n\n"
PROMPT = [5, 6, 7]


@pytest.fixture(scope="module")
def end_ids(tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = tokenizer.encode(END, add_special_tokens=False).ids
    assert len(ids) > 2
    return ids


@pytest.fixture
def sidecar(
    tmp_path: Path, model_folder: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sidecar]:
    """A sidecar all of whose answers begin with reasoning that has a budget."""
    plain = RequestInterpreter.of_completion

    async def reasoning(self: RequestInterpreter, request: CompletionRequest) -> GenerationRequest:
        budget = Reasoning(start="", end="</think>", budget=BUDGET, forced_end=END)
        return replace(await plain(self, request), reasoning=budget)

    monkeypatch.setattr(RequestInterpreter, "of_completion", reasoning)
    with running(settings_in(tmp_path, model_folder, upstream.url, limits={"first_token": 5.0})) as one:
        yield one


def expected(upstream: Upstream, end_ids: list[int], choice: int = 0) -> list[int]:
    """The answer's tokens by what the server was asked."""
    first = next(body for body in upstream.asked[choice:] if len(body["prompt"]) == len(PROMPT))
    before = [*drawn(first)[:BUDGET], *end_ids]
    rest = {**first, "prompt": [*PROMPT, *before], "max_tokens": first["max_tokens"] - len(before)}
    return [*before, *drawn(rest)]


def sizes(record: Record) -> list[int]:
    """Tokens of each segment."""
    return [segment.tokens for segment in record.segments or ()]


@pytest.mark.parametrize("stream", [False, True])
def test_at_its_budget_reasoning_is_ended_and_the_rest_is_asked_for(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer, end_ids: list[int], stream: bool
) -> None:
    answer = sidecar.complete(PROMPT, max_tokens=30, stream=stream, **({"stream_options": USAGE} if stream else {}))
    assert answer.status_code == 200, answer.text
    first, second = upstream.asked
    ids = expected(upstream, end_ids)
    assert first["max_tokens"] == 30
    assert second == {**first, "prompt": [*PROMPT, *ids[: BUDGET + len(end_ids)]], "max_tokens": 24 - len(end_ids)}
    (record,) = sidecar.records()
    assert record.output_token_ids == ids
    assert (record.finish_reason, record.stop_reason, record.seed) == ("length", None, first["seed"])
    kinds = [("sampled", BUDGET), ("forced", len(end_ids)), ("sampled", 24 - len(end_ids))]
    assert [(one.kind, one.tokens) for one in record.segments or ()] == kinds
    if stream:
        *chunks, usage, _ = events_of(answer.text)
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
        assert len([chunk for chunk in chunks if chunk["choices"][0]["finish_reason"] is None]) == 30
    else:
        usage = answer.json()
        text = usage["choices"][0]["text"]
    assert usage["usage"]["completion_tokens"] == 30
    assert text == tokenizer.decode(ids)


USAGE = {"include_usage": True}


@pytest.mark.parametrize("claim", [None, "stop", "length"])
def test_what_the_server_sends_or_claims_beyond_the_budget_is_dropped(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int], claim: str | None
) -> None:
    async def at_once(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        ids = drawn(body)
        if len(body["prompt"]) > len(PROMPT):
            yield event(ids, "length")
        else:
            yield event(ids[: BUDGET if claim else 30], claim)

    upstream.answer = at_once
    assert sidecar.complete(PROMPT, max_tokens=30).status_code == 200
    (record,) = sidecar.records()
    assert record.output_token_ids == expected(upstream, end_ids)


def test_the_first_request_is_left_without_waiting_for_its_server(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int]
) -> None:
    served = asyncio.Event()

    async def stalls(body: dict[str, Any]) -> AsyncIterator[bytes]:
        if len(body["prompt"]) == len(PROMPT):
            yield HEAD + event(drawn(body)[:BUDGET])
            await served.wait()
            return
        async for block in honest(body):
            yield block
        served.set()

    upstream.answer = stalls
    assert sidecar.complete(PROMPT, max_tokens=30).status_code == 200
    assert sidecar.records()[0].output_token_ids == expected(upstream, end_ids)


def test_reasoning_that_ended_within_its_budget_is_one_request(
    sidecar: Sidecar, upstream: Upstream, tokenizer: Tokenizer
) -> None:
    ending: list[int] = tokenizer.encode("a</think>", add_special_tokens=False).ids
    assert len(ending) <= BUDGET

    async def ends(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        yield event([*ending, *drawn(body)[len(ending) :]], "length")

    upstream.answer = ends
    assert sidecar.complete(PROMPT, max_tokens=30).status_code == 200
    (record,) = sidecar.records()
    assert (len(record.output_token_ids), record.segments, len(upstream.asked)) == (30, None, 1)


def test_where_nothing_would_follow_the_end_nothing_is_forced(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int]
) -> None:
    sidecar.complete(PROMPT, max_tokens=BUDGET + len(end_ids))
    sidecar.complete(PROMPT, max_tokens=BUDGET + len(end_ids) + 1)
    one, other = sidecar.await_records(2)
    assert one.segments is None
    assert sizes(other) == [BUDGET, len(end_ids), 1]


def test_each_choice_has_its_own_requests_and_its_own_seed(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int]
) -> None:
    assert sidecar.complete(PROMPT, max_tokens=20, n=3).status_code == 200
    records = sorted(sidecar.records(), key=lambda record: record.choice_index)
    for record in records:
        mine = [body for body in upstream.asked if body["seed"] == record.choice_seed()]
        assert [len(body["prompt"]) for body in mine] == [3, 3 + BUDGET + len(end_ids)]
        assert record.segments is not None
    assert len({record.choice_seed() for record in records}) == 3


def test_a_second_request_that_fails_before_its_first_token_is_sent_again_with_the_same_seed(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int]
) -> None:
    async def busy_once(body: dict[str, Any]) -> AsyncIterator[bytes]:
        if len(body["prompt"]) > len(PROMPT) and len(upstream.asked) == 2:
            yield response("503 Service Unavailable")
            return
        async for block in honest(body):
            yield block

    upstream.answer = busy_once
    assert sidecar.complete(PROMPT, max_tokens=30).status_code == 200
    assert [body["seed"] for body in upstream.asked[1:]] == [upstream.asked[0]["seed"]] * 2
    assert sidecar.records()[0].output_token_ids == expected(upstream, end_ids)


async def _lost_in_the_rest(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD
    ids = drawn(body)
    lost = len(body["prompt"]) > len(PROMPT)
    for token in ids[:2] if lost else ids:
        yield event([token])


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_lost_in_the_rest_leaves_what_was_released_on_record_and_the_seed_for_a_retry(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int], stream: bool
) -> None:
    upstream.answer = _lost_in_the_rest
    failed = sidecar.complete(PROMPT, max_tokens=30, stream=stream)
    assert ("error" in events_of(failed.text)[-1]) if stream else failed.status_code == 502
    (record,) = sidecar.records()
    assert (record.finish_reason, record.stop_reason) == ("abort", "upstream")
    released = BUDGET + len(end_ids) + 2 if stream else 0
    assert record.output_token_ids == expected(upstream, end_ids)[:released]
    assert sizes(record) == ([BUDGET, len(end_ids), 2] if stream else [])
    seed = upstream.asked[0]["seed"]
    upstream.answer = honest
    assert sidecar.complete(PROMPT, max_tokens=30, stream=stream).status_code == 200
    assert {body["seed"] for body in upstream.asked} == {seed}


def test_a_client_that_goes_away_within_the_rest_leaves_a_record_with_the_segments(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int]
) -> None:
    async def slow_rest(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for at, token in enumerate(drawn(body)):
            yield event([token])
            if at and len(body["prompt"]) > len(PROMPT):
                await asyncio.sleep(0.02)

    upstream.answer = slow_rest
    seen = 0
    body = {"model": "small", "prompt": PROMPT, "max_tokens": 500, "stream": True}
    with sidecar.client.stream("POST", "/v1/completions", json=body) as answer:
        for line in answer.iter_lines():
            seen += line.startswith("data: {")
            if seen == BUDGET + len(end_ids) + 3:
                break
    (record,) = sidecar.await_records(1)
    assert (record.finish_reason, record.stop_reason) == ("abort", "client")
    assert [segment.kind for segment in record.segments or ()] == ["sampled", "forced", "sampled"]
    assert len(record.output_token_ids) >= seen


def test_a_crash_at_any_moment_leaves_a_valid_record_of_all_released_tokens(
    sidecar: Sidecar, upstream: Upstream, end_ids: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the database after each durable write is what a crash there leaves."""
    extend = DraftRecorder.extend
    copies: list[Path] = []

    async def copied(self: DraftRecorder, draft: Draft, tokens: bytes, so_far: Record | None = None) -> None:
        await extend(self, draft, tokens, so_far)
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        with sqlite3.connect(sidecar.log) as source, sqlite3.connect(copies[-1]) as copy:
            source.backup(copy)

    monkeypatch.setattr(DraftRecorder, "extend", copied)
    assert sidecar.complete(PROMPT, max_tokens=20, stream=True).status_code == 200
    whole = expected(upstream, end_ids)
    lengths = []
    for path in copies:
        with LogWriter.open(str(path), origin=ORIGIN) as log:
            assert recover(log) == 1
        (entry,) = LogReader(str(path)).entries(0, 1)
        record = decode_record(entry)
        count = len(record.output_token_ids)
        assert record.output_token_ids == whole[:count]
        assert (record.finish_reason, record.stop_reason) == ("abort", "logger")
        rest = count - BUDGET - len(end_ids)
        assert sizes(record) == ([one for one in (BUDGET, len(end_ids), rest) if one] if count > BUDGET else [])
        lengths.append(count)
    after = BUDGET + len(end_ids)
    assert lengths == sorted(set(lengths))
    assert {0, BUDGET, after, 20} <= set(lengths)
    assert not set(lengths) & set(range(BUDGET + 1, after))


def test_the_events_of_the_answer_show_nothing_of_how_the_server_sent_its_tokens(
    sidecar: Sidecar, upstream: Upstream
) -> None:
    async def at_once(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        yield event(drawn(body), "length")

    bodies = []
    for answer in (honest, at_once):
        upstream.answer = answer
        body = sidecar.complete(PROMPT, max_tokens=20, stream=True, seed=None, temperature=0).text
        events = [one for one in events_of(body) if one != "[DONE]"]
        bodies.append([json.dumps(one["choices"]) for one in events])
    assert [one.replace('"record_index": 1', '"record_index": 0') for one in bodies[1]] == bodies[0]
