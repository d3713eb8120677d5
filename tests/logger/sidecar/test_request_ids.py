"""From a record to its request: ids and indices in responses, in the sidecar's log, and beside the log."""

import asyncio
import itertools
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.logger.archive.examples import ENTRIES
from tests.logger.sidecar.official_clients import openai_client
from tests.logger.sidecar.running import MODEL, ORIGIN, Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, honest, response, sends
from weightwarden.logger.formats.canonical import token_bytes
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.log.recorder import recover
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter

OWN = re.compile("[0-9a-f]{32}")


def stamps_of(sidecar: Sidecar) -> dict[int, RequestStamp]:
    return dict(LogReader(sidecar.log).stamps())


@pytest.mark.parametrize("stream", [True, False])
def test_a_record_is_traced_to_its_request_by_response_event_and_log(
    impatient: Sidecar, shared_upstream: Upstream, stream: bool
) -> None:
    shared_upstream.answer = honest
    said = len(impatient.events("request"))
    before = int(time.time() * 1000)
    got = impatient.client.post(
        "/v1/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "n": 2, "max_tokens": 3}
        | ({"stream": True} if stream else {}),
        headers={"X-Request-ID": f"client-7.{stream}"},
    )
    assert got.headers["x-request-id"] == f"client-7.{stream}"
    bodies = events_of(got.text)[:-1] if stream else [got.json()]
    assert {body["id"] for body in bodies} == {f"chatcmpl-client-7.{stream}"}
    shown = {
        choice["index"]: choice["record_index"]
        for body in bodies
        for choice in body["choices"]
        if choice["finish_reason"] is not None
    }
    records = impatient.records()
    assert {index: records[record].choice_index for index, record in shown.items()} == {0: 0, 1: 1}
    line = impatient.await_event("request", said + 1)
    assert (line["request_id"], line["client_request_id"]) == (f"client-7.{stream}", "used")
    assert line["records"] == sorted(shown.values())
    for record in shown.values():
        stamp = stamps_of(impatient)[record]
        assert stamp.request_id == f"client-7.{stream}"
        assert before <= stamp.time <= int(time.time() * 1000)


def test_without_a_clients_id_the_sidecar_makes_one(impatient: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    got = [impatient.complete(max_tokens=2) for _ in range(2)]
    ids = [one.headers["x-request-id"] for one in got]
    assert all(OWN.fullmatch(one) for one in ids)
    assert len(set(ids)) == 2
    assert [one.json()["id"] for one in got] == [f"cmpl-{one}" for one in ids]
    assert {stamp.request_id for stamp in stamps_of(impatient).values()} >= set(ids)


def test_a_malformed_id_fails_no_request_and_reaches_no_log(impatient: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    said = len(impatient.events("request"))
    body = {"model": MODEL, "prompt": "a", "max_tokens": 2}
    for forged in ('x", "forged": "', "x" * 129, "a b"):
        got = impatient.client.post("/v1/completions", json=body, headers={"x-request-id": forged})
        assert got.status_code == 200
        assert OWN.fullmatch(got.headers["x-request-id"])
        assert forged not in got.text
    assert impatient.await_event("request", said + 3)["client_request_id"] == "replaced"
    assert "forged" not in impatient.said.getvalue()
    assert all(
        OWN.fullmatch(stamp.request_id) or "client" in stamp.request_id for stamp in stamps_of(impatient).values()
    )


@pytest.mark.parametrize("stream", [True, False])
def test_failures_have_an_id_too_and_their_records_are_in_the_event(
    impatient: Sidecar, shared_upstream: Upstream, stream: bool
) -> None:
    shared_upstream.answer = sends(response("500 Broken"))
    said = len(impatient.events("request"))
    got = impatient.complete(stream=stream)
    assert got.status_code == 502
    line = impatient.await_event("request", said + 1)
    assert got.headers["x-request-id"] == line["request_id"]
    [record] = line["records"]
    assert impatient.records()[record].finish_reason == "abort"
    assert stamps_of(impatient)[record].request_id == line["request_id"]
    for refused in (
        impatient.client.post("/v1/completions", content=b"{", headers={"content-type": "application/json"}),
        impatient.client.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"}),
        impatient.complete(model="another"),
    ):
        assert 400 <= refused.status_code < 500
        assert OWN.fullmatch(refused.headers["x-request-id"])
    line = impatient.await_event("request", said + 4)
    assert line["records"] == []


def test_the_id_of_a_request_never_reaches_the_server(impatient: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    impatient.client.post(
        "/v1/completions", json={"model": MODEL, "prompt": "a", "max_tokens": 1}, headers={"x-request-id": "OUTSIDER"}
    )
    assert "outsider" not in str((shared_upstream.headers[-1], shared_upstream.asked[-1])).lower()


@pytest.mark.parametrize("stream", [True, False])
def test_openais_client_reads_both(impatient: Sidecar, shared_upstream: Upstream, stream: bool) -> None:
    shared_upstream.answer = honest
    with openai_client(impatient.url) as client:
        ask: Any = client.chat.completions.create
        got = ask(
            model=MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=2,
            stream=stream,
            extra_headers={"x-request-id": "from-openai"},
        )
        last = list(got)[-1] if stream else got
    assert last.id == "chatcmpl-from-openai"
    assert last.choices[0].record_index == len(impatient.records()) - 1
    assert stream or got._request_id == "from-openai"


@contextmanager
def held_back() -> Iterator[tuple[Any, dict[int, threading.Event]]]:
    """A hostile server: it ends each answer when its event is set, by the first token of the prompt."""
    ends = {prompt: threading.Event() for prompt in (5, 6, 7)}

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD + event([100])
        while not ends[body["prompt"][0]].is_set():
            await asyncio.sleep(0.005)
        yield event([101], "length")

    yield answer, ends
    for one in ends.values():
        one.set()


def decoded(sidecar: Sidecar, upstream: Upstream, order: tuple[int, ...]) -> list[int]:
    """The order of the ends that three clients' responses reveal, after the server ended them in this order."""
    with held_back() as (answer, ends), ThreadPoolExecutor(3) as clients:
        upstream.answer = answer
        asked = {prompt: clients.submit(sidecar.complete, [prompt], max_tokens=2) for prompt in ends}
        size = LogReader(sidecar.log).size()
        for at, prompt in enumerate(order):
            ends[prompt].set()
            sidecar.await_records(size + at + 1)
        got = {prompt: one.result(60).json()["choices"][0].get("record_index") for prompt, one in asked.items()}
    shown = {prompt: index for prompt, index in got.items() if index is not None}
    return sorted(shown, key=lambda prompt: shown[prompt])


def test_indices_tell_in_which_order_the_server_ended_answers(sidecar: Sidecar, upstream: Upstream) -> None:
    for order in itertools.permutations((5, 6, 7)):
        assert decoded(sidecar, upstream, order) == list(order)


@pytest.mark.parametrize("more", [{"release_tick": 0.01}, {"record_index": "omit"}])
def test_with_ticks_or_if_asked_no_index_leaves(
    tmp_path: Path, model_folder: Path, upstream: Upstream, more: dict[str, Any]
) -> None:
    with running(settings_in(tmp_path, model_folder, upstream.url, **more)) as sidecar:
        assert decoded(sidecar, upstream, (6, 5, 7)) == []
        upstream.answer = honest
        for stream in (True, False):
            got = sidecar.chat(stream=stream, max_tokens=2)
            assert got.status_code == 200
            assert "record" not in got.text
        line = sidecar.await_event("request", 5)
        assert line["records"] == [4]
        assert stamps_of(sidecar)[4].request_id == line["request_id"] == got.headers["x-request-id"]


def test_indices_are_sent_with_ticks_if_the_operator_asks(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    more: dict[str, Any] = {"release_tick": 0.01, "record_index": "send"}
    with running(settings_in(tmp_path, model_folder, upstream.url, **more)) as sidecar:
        assert sidecar.complete(max_tokens=2).json()["choices"][0]["record_index"] == 0


def test_an_answer_that_a_crash_cut_off_keeps_its_request(tmp_path: Path) -> None:
    stamp = RequestStamp("crashed", 1_700_000_000_000)
    log = str(tmp_path / "crashed.db")

    async def crash() -> None:
        with LogWriter.open(log, origin=ORIGIN) as writer:
            await writer.draft(ENTRIES[0], stamp).extend(token_bytes([1, 2]))

    asyncio.run(crash())
    with LogWriter.open(log, origin=ORIGIN) as writer:
        assert recover(writer) == 1
    assert list(LogReader(log).stamps()) == [(0, stamp)]
