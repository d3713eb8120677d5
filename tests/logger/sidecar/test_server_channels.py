"""docs/design.md, section 2, row by row: each channel of an untrusted server, and what becomes of it."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import (
    EOS,
    FIRST,
    HEAD,
    Answer,
    Upstream,
    drawn,
    event,
    honest,
    response,
    sends,
)

FAILED = {"message": "the inference server failed", "type": "upstream_error", "param": None, "code": None}


def test_text_fields_headers_ids_and_boundaries_of_the_server_never_reach_the_client(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    async def talkative(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD[:-2] + b"x-leak: UPSTREAM-HEADER\r\nset-cookie: UPSTREAM-COOKIE\r\n\r\n"
        yield event(drawn(body, 3), logprobs={"UPSTREAM": -1.5}, prompt_token_ids=[9, 9]) + b": UPSTREAM-COMMENT\n\n"
        yield b"event: UPSTREAM-EVENT\nid: UPSTREAM-ID\nretry: 5\n\n"
        for token in drawn(body, 6)[3:]:
            yield event([token])[:50]
            yield event([token])[50:]
        yield event([], "length", stop_reason="UPSTREAM-REASON") + b"data: [DONE]\n\n"

    shared_upstream.answer = talkative
    for stream in (True, False):
        got = impatient.chat(stream=stream, max_tokens=6)
        assert got.status_code == 200
        assert "upstream" not in (got.text + str(got.headers)).lower()
        sent = {"date", "content-type", "cache-control", "content-length", "transfer-encoding", "x-request-id"}
        assert set(got.headers) <= sent
        if stream:
            choices = [chunk["choices"][0] for chunk in events_of(got.text)[:-1]]
            assert len(choices) == 1 + 6 + 1
            assert choices[-1].pop("record_index") == len(impatient.records()) - 1
            assert {frozenset(choice) for choice in choices} == {
                frozenset({"index", "delta", "logprobs", "finish_reason"})
            }
    assert all("UPSTREAM" not in r.model_dump_json() for r in impatient.records())


def test_how_many_tokens_the_server_sends_at_once_does_not_show_in_the_clients_chunks(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    def batched(*sizes: int) -> Answer:
        async def answer(_: dict[str, Any]) -> AsyncIterator[bytes]:
            yield HEAD
            for size in sizes:
                yield event([200] * size) if size % 2 else event([200]) * size
                await asyncio.sleep(0.02)

        return answer

    url = httpx2.URL(impatient.url)
    body = b'{"model": "small", "prompt": [5], "max_tokens": 9, "stream": true}'
    seen = set()
    for answer in (batched(9), batched(1, 2, 1, 2, 3), batched(4, 1, 4), batched(*[1] * 9)):
        shared_upstream.answer = answer
        with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
            head = b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            connection.sendall(head % len(body) + body)
            got = b""
            while block := connection.recv(65_536):
                got += block
        seen.add(re.sub(rb'date: [^\r]*|[0-9a-f]{32}|"created":[0-9]*|"record_index":[0-9]*', b"", got))
    assert len(seen) == 1
    assert got.count(b"\r\ndata: ") == 11  # nine tokens, the end, [DONE]: each a chunk


def test_whether_it_is_ready_is_all_that_the_server_can_say_through_it(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    def get_ready() -> tuple[int, str]:
        with running(settings_in(tmp_path, model_folder, upstream.url)) as sidecar:
            assert sidecar.await_event("upstream")["unfit"] is not None
            got = sidecar.client.get("/ready")
            return got.status_code, got.text

    seen = set()
    for models in ((), ("SECRET",), ("a" * 10_000,)):
        upstream.models = models
        seen.add(get_ready())
    upstream.url = "http://127.0.0.1:9"
    seen.add(get_ready())
    assert seen == {(503, '{"status":"the inference server is not ready"}')}


def test_how_the_server_cuts_its_answer_changes_nothing_of_what_is_sent(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    def cut(size: int) -> Answer:
        async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
            data = HEAD + b"".join(event([t]) for t in range(200, 230)) + event([230], "length")
            for at in range(0, len(data), size):
                yield data[at : at + size]

        return answer

    def joined(body: dict[str, Any]) -> AsyncIterator[bytes]:
        return sends(HEAD, event(list(range(200, 231)), "length"))(body)

    seen = set()
    for answer in (cut(10**6), cut(37), cut(1000), joined):
        shared_upstream.answer = answer
        got = impatient.complete(stream=True, max_tokens=31)
        chunks = events_of(got.text)[:-1]
        assert chunks[-1]["choices"][0].pop("record_index") == len(impatient.records()) - 1
        seen.add(json.dumps([chunk["choices"] for chunk in chunks]))
    assert len(seen) == 1


def test_how_the_server_frames_and_ends_its_response_changes_nothing_of_what_is_sent(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    body = b"".join(event([token]) for token in range(200, 204)) + event([204], "length")
    done = b"data: [DONE]\n\n"
    kept = HEAD.replace(b"connection: close", b"connection: keep-alive")
    chunked = kept[:-2] + b"transfer-encoding: chunked\r\n\r\n"
    whole = kept[:-2] + b"content-length: %d\r\n\r\n" % len(body + done)
    trailer = b"%x\r\n%b\r\n0\r\nx-leak: 1\r\n\r\n" % (len(body), body)
    seen = set()
    for blocks in ((HEAD, body, done), (HEAD, body), (whole, body, done), (chunked, trailer)):
        shared_upstream.answer = sends(*blocks)
        got = impatient.complete(stream=True, max_tokens=5)
        chunks = events_of(got.text)
        assert chunks[-2]["choices"][0].pop("record_index") == len(impatient.records()) - 1
        headers = sorted(name for name in got.headers if name not in ("date", "x-request-id"))
        seen.add(json.dumps([headers, chunks[-1], *(chunk["choices"] for chunk in chunks[:-1])]))
    assert len(seen) == 1


def test_the_sidecar_ends_answers_itself_where_the_server_goes_on(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    shared_upstream.answer = sends(HEAD, event([100, 101, EOS, 102, 103]), event([104], "length"))
    got = impatient.complete(max_tokens=30).json()
    assert got["choices"][0]["finish_reason"] == "stop"
    assert impatient.records()[-1].output_token_ids == [100, 101, EOS]
    shared_upstream.answer = sends(HEAD, event([100, 101, 102, 103]), event([104]), event([105]))
    got = impatient.complete(max_tokens=5).json()
    assert got["choices"][0]["finish_reason"] == "length"
    assert impatient.records()[-1].output_token_ids == [100, 101, 102, 103, 104]


@pytest.mark.parametrize("claim", ["stop", "length"])
def test_an_end_that_the_server_only_claims_is_recorded_as_claimed_for_the_verifier(
    impatient: Sidecar, shared_upstream: Upstream, claim: str
) -> None:
    shared_upstream.answer = sends(HEAD, event([100, 101]), event([], claim, stop_reason="never asked for"))
    assert impatient.complete(max_tokens=30).json()["choices"][0]["finish_reason"] == claim
    record = impatient.records()[-1]
    assert (record.output_token_ids, record.finish_reason, record.stop_reason) == ([100, 101], claim, None)


def test_a_stop_string_is_found_in_the_sidecars_text_whatever_the_server_says(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    ids = [504, 3575, 30, 198, 100]  # text of its own; the stop string is its third token's
    shared_upstream.answer = sends(HEAD, *(event([i]) for i in ids), event([], "length"))
    whole = impatient.complete(max_tokens=5).json()["choices"][0]["text"]
    stop = "." if "." in whole else whole[3:5]
    got = impatient.complete(max_tokens=5, stop=stop).json()["choices"][0]
    assert got["text"] == whole[: whole.index(stop)]
    record = impatient.records()[-1]
    assert (record.finish_reason, record.stop_reason) == ("stop", stop)
    assert len(record.output_token_ids) <= 5
    assert "stop" not in shared_upstream.asked[-1] or shared_upstream.asked[-1]["stop"] == []


def test_a_retry_keeps_the_seed_within_the_sidecar_and_over_the_clients_own_retries(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    shared_upstream.asked.clear()
    shared_upstream.answer = sends(response("503 Service Unavailable"))
    assert impatient.complete("Retry me").status_code == 502
    assert impatient.complete("Retry me").status_code == 502
    shared_upstream.answer = sends(FIRST)
    assert impatient.complete("Retry me", stream=True).status_code == 200  # cut off within
    shared_upstream.answer = honest
    assert impatient.complete("Retry me", max_tokens=16).status_code == 200
    seeds = [asked["seed"] for asked in shared_upstream.asked]
    assert len(seeds) == 3 + 3 + 1 + 1
    assert len(set(seeds)) == 1
    assert impatient.complete("Retry me", max_tokens=16).status_code == 200
    assert shared_upstream.asked[-1]["seed"] != seeds[0]


def test_a_clients_seed_is_replaced_unless_it_is_allowed(
    impatient: Sidecar, shared_upstream: Upstream, tmp_path: Path, model_folder: Path
) -> None:
    shared_upstream.answer = honest
    assert impatient.complete(seed=7, max_tokens=2).status_code == 200
    assert shared_upstream.asked[-1]["seed"] != 7
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, client_seeds="allow")
    with running(settings) as allowing:
        assert allowing.complete(seed=7, max_tokens=2, n=2).status_code == 200
        assert sorted(asked["seed"] for asked in shared_upstream.asked[-2:]) == [7, 8]
        assert {record.seed for record in allowing.records()} == {7}
        for wrong in (-1, -2, 2**63 - 1):  # vLLM reads -1 as no seed; the last has none after it
            assert allowing.complete(seed=wrong, max_tokens=2, n=4).status_code == 400


def test_when_one_choice_fails_the_others_are_cut_off_and_all_are_on_record(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    count = threading.Lock()
    asked = []

    async def one_fails(body: dict[str, Any]) -> AsyncIterator[bytes]:
        with count:
            asked.append(body)
            number = len(asked)
        yield HEAD
        for token in range(200, 1200):
            yield event([token])
            await asyncio.sleep(0.01)
            if number == 2 and token == 205:
                return

    shared_upstream.answer = one_fails
    before = len(impatient.records())
    got = impatient.complete(stream=True, n=3, max_tokens=2000)
    assert events_of(got.text)[-1] == {"error": FAILED}
    records = impatient.await_records(before + 3)[-3:]
    assert {(r.finish_reason, r.stop_reason) for r in records} == {("abort", "upstream")}
    texts = sum(len(chunk["choices"]) for chunk in events_of(got.text)[:-1])
    assert texts == sum(len(r.output_token_ids) for r in records)
