"""Answers at a pace: what clients get, on which moments, and what is on record."""

import asyncio
import itertools
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.official_clients import anthropic_client, asked, openai_client, says
from tests.logger.sidecar.running import MODEL, ORIGIN, Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, drawn, event, honest, response, sends
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.release import Pace, Release, slot_seconds
from weightwarden.logger.sidecar.errors import GateLost, SettingsError
from weightwarden.logger.sidecar.log.recorder import DraftRecorder, recover
from weightwarden.logger.store.draft import Draft
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter

PACE = Pace(tokens=4, milliseconds=40)


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("paced")
    limits = {"first_token": 5.0, "stall": 1.0}
    with running(settings_in(folder, model_folder, shared_upstream.url, release_pace=PACE, limits=limits)) as sidecar:
        yield sidecar


def release_of(record: Record) -> Release:
    assert record.release is not None
    assert record.release.pace == PACE
    return record.release


def new_records(sidecar: Sidecar, before: int, count: int = 1) -> list[Record]:
    """The records after so many, once there are `count` of them."""
    return sidecar.await_records(before + count)[before:]


def arrivals(sidecar: Sidecar, **more: Any) -> tuple[float, list[tuple[float, bytes]]]:
    """When a streamed request was sent, and when each piece of its answer came."""
    body = {"model": MODEL, "prompt": "Once", "stream": True, **more}
    sent = time.monotonic()
    with sidecar.client.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        return sent, [(time.monotonic(), data) for data in answer.iter_raw()]


def test_groups_leave_on_the_moments_that_the_record_tells(paced: Sidecar, shared_upstream: Upstream) -> None:
    pauses = {6: 0.1, 13: 0.2}

    async def pausing(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        ids = drawn(body)
        for at, token in enumerate(ids):
            await asyncio.sleep(pauses.get(at, 0))
            yield event([token], "length" if at == len(ids) - 1 else None)

    shared_upstream.answer = pausing
    before = len(paced.records())
    sent, found = arrivals(paced, max_tokens=18)
    [record] = new_records(paced, before)
    release = release_of(record)
    assert release.streamed
    assert release.start_slot is not None
    assert len(release.underruns) >= 2
    missed = {one[0]: one[1] for one in release.underruns}
    steps = ((1 + missed.get(group, 0)) * PACE.seconds for group in range(1, 6))
    told = list(itertools.accumulate(steps, initial=slot_seconds(release.start_slot)))
    times = [at - sent for at, data in found if b'"text"' in data]
    sizes = [data.count(b'"text"') for _, data in found if b'"text"' in data]
    assert sizes == [1, 4, 4, 4, 4, 1 + 1]  # the end is an event of its own
    late = [at - moment for at, moment in zip(times, told, strict=True)]
    assert min(late) >= 0, late
    assert min(late) < 0.05, late  # the others may be later where the machine is busy
    assert len(record.output_token_ids) == 18


def test_a_first_token_whose_text_is_held_back_is_a_group_all_the_same(
    paced: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode("Once there was a fox.", add_special_tokens=False).ids

    async def late(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        yield event(ids[:1])
        await asyncio.sleep(0.5)
        yield event(ids[1:], "length")

    shared_upstream.answer = late
    before = len(paced.records())
    _, found = arrivals(paced, max_tokens=len(ids), stop=["Once upon"])
    groups = [events_of(data.decode()) for _, data in found]
    assert [one["choices"][0]["text"] for one in groups[0]] == [""]
    said = [one["choices"][0]["text"] for one in itertools.chain(*groups) if one != "[DONE]"]
    assert "".join(said) == "Once there was a fox."
    [record] = new_records(paced, before)
    [[group, ticks]] = release_of(record).underruns
    assert group == 1
    assert ticks >= 5  # it left while the others were not there


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_is_the_one_without_a_pace(
    paced: Sidecar, sidecar: Sidecar, upstream: Upstream, shared_upstream: Upstream, stream: bool
) -> None:
    shared_upstream.answer = upstream.answer = honest
    more: dict[str, Any] = {"max_tokens": 11, "seed": 1, "n": 2, "temperature": 0, "stream": stream}

    def text(one: Sidecar) -> list[str]:
        response = one.complete("Once", **more)
        assert response.status_code == 200, response.text
        said = ["", ""]
        events = events_of(response.text)[:-1] if stream else [response.json()]
        for choice in itertools.chain(*(body["choices"] for body in events)):
            said[choice["index"]] += choice["text"]
        return said

    before = len(paced.records())
    assert text(paced) == text(sidecar)
    records = new_records(paced, before, 2)
    assert [len(record.output_token_ids) for record in records] == [11, 11]
    assert all(release_of(record).streamed == stream for record in records)
    assert all(release_of(record).start_slot is not None for record in records)
    assert all(record.release is None for record in sidecar.await_records(2))


def test_both_official_clients_are_served(paced: Sidecar, shared_upstream: Upstream, tokenizer: Tokenizer) -> None:
    shared_upstream.answer = says(tokenizer, "Once there was a fox.")
    with anthropic_client(paced.url) as claude, openai_client(paced.url) as gpt:
        for message in asked(claude):
            assert message.content[0].to_dict()["text"] == "Once there was a fox."
        streamed = gpt.responses.create(model=MODEL, input="A", max_output_tokens=20, stream=True)
        assert list(streamed)[-1].type == "response.completed"


def test_a_connection_serves_one_request_after_another(paced: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    with httpx2.Client(base_url=paced.url, timeout=20, trust_env=False, limits=httpx2.Limits(max_connections=1)) as one:
        for path in ("/v1/models", "/health", "/v1/models"):
            assert one.get(path).status_code == 200
        for stream in (True, False, True):
            body = {"model": MODEL, "prompt": "Once", "max_tokens": 9, "stream": stream}
            assert one.post("/v1/completions", json=body).status_code == 200
        paced.await_closed_seeds()  # each was answered whole, whatever came after it
        assert one.get("/nowhere").status_code == 404
        assert one.post("/v1/completions", json={"model": MODEL}).status_code == 400


def test_a_failure_before_the_first_group_is_told_on_a_slot(paced: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = sends(HEAD, b"data: nonsense\n\n")
    before = len(paced.records())
    answer = paced.complete("Once", max_tokens=9, stream=True)
    assert answer.status_code == 502
    [record] = new_records(paced, before)
    assert (record.finish_reason, record.stop_reason) == ("abort", "upstream")
    release = release_of(record)
    assert release.start_slot is not None
    assert not release.streamed


def test_a_refusal_is_told_on_a_slot(paced: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = sends(response("400 Bad Request", b"no"))
    before = len(paced.records())
    assert paced.complete("Once", max_tokens=9).status_code == 502
    assert release_of(new_records(paced, before)[0]).start_slot is not None


def test_a_failure_after_the_first_group_is_told_on_a_tick(paced: Sidecar, shared_upstream: Upstream) -> None:
    async def failing(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for token in drawn(body)[:6]:
            yield event([token])
        await asyncio.sleep(0.3)
        yield b"data: nonsense\n\n"

    shared_upstream.answer = failing
    before = len(paced.records())
    answer = paced.complete("Once", max_tokens=9, stream=True)
    assert answer.status_code == 200
    assert "error" in events_of(answer.text)[-1]
    [record] = new_records(paced, before)
    assert (record.finish_reason, record.stop_reason) == ("abort", "upstream")
    [[group, ticks]] = release_of(record).underruns
    assert group == 2  # one token, four tokens, and the end on its own
    assert ticks >= 3


def test_no_byte_depends_on_the_moment_at_which_the_first_group_was_there(
    paced: Sidecar, shared_upstream: Upstream
) -> None:
    """Two answers of one start slot, whose first tokens were there at different moments: a client sees no difference.

    A half-closed client gets no interim responses either, which would end at that moment.
    """
    host, port = paced.url.removeprefix("http://").split(":")
    body = b'{"model": "small", "prompt": "Once", "max_tokens": 4, "stream": true, "temperature": 0}'

    def said_after(seconds: float) -> tuple[int, list[bytes]]:
        async def late(_: dict[str, Any]) -> AsyncIterator[bytes]:
            yield HEAD
            await asyncio.sleep(seconds)
            for at in range(4):
                yield event([200 + at], "length" if at == 3 else None)

        shared_upstream.answer = late
        before = len(paced.records())
        with socket.create_connection((host, int(port)), timeout=20) as one:
            one.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            one.shutdown(socket.SHUT_WR)
            said = b""
            while data := one.recv(65536):
                said += data
        slot = release_of(new_records(paced, before)[0]).start_slot
        assert slot is not None
        varies = (b"x-request-id: ", b'data: {"id":')
        return slot, [line for line in said.split(b"\r\n") if not line.startswith(varies)]

    slots = {}
    for seconds in (2.35, 2.6):  # one slot is 2.65 seconds after the request
        slot, lines = said_after(seconds)
        slots[slot] = lines
    assert len(slots) == 1 or abs(max(slots) - min(slots)) == 1  # a busy machine may be late
    assert all(not line.lower().startswith(b"date:") for lines in slots.values() for line in lines)
    assert all(b"100 Continue" not in line for lines in slots.values() for line in lines)
    assert len({tuple(lines) for lines in slots.values()}) == 1


def test_a_client_that_leaves_ends_what_is_told(paced: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    before = len(paced.records())
    with paced.client.stream(
        "POST", "/v1/completions", json={"model": MODEL, "prompt": "Once", "stream": True, "max_tokens": 200}
    ) as answer:
        next(answer.iter_raw())
    [record] = new_records(paced, before)
    release = release_of(record)
    assert release.streamed
    assert release.start_slot is not None


def test_an_unfinished_request_and_what_is_no_request_are_refused(paced: Sidecar) -> None:
    host, port = paced.url.removeprefix("http://").split(":")
    for sent, status in ((b"nonsense\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nx: " + b"a" * 40_000, b"431")):
        with socket.create_connection((host, int(port)), timeout=20) as one:
            one.sendall(sent)
            assert one.recv(4096).startswith(b"HTTP/1.1 " + status)


def test_a_half_closed_client_gets_its_answer(paced: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.answer = honest
    host, port = paced.url.removeprefix("http://").split(":")
    body = b'{"model": "small", "prompt": "Once", "max_tokens": 30, "stream": true}'
    with socket.create_connection((host, int(port)), timeout=20) as one:
        one.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        one.shutdown(socket.SHUT_WR)
        said = b""
        while data := one.recv(65536):
            said += data
    assert said.endswith(b"0\r\n\r\n")
    assert said.count(b'"text"') == 30 + 1  # the end is an event of its own


def test_without_its_gate_a_sidecar_ends_and_says_so(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream
) -> None:
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, release_pace=PACE)

    def loses_its_gate() -> None:
        known = set(psutil.Process().children())
        with running(settings) as sidecar:
            [gate] = set(psutil.Process().children()) - known
            assert "weightwarden.logger.gate" in gate.cmdline()
            gate.kill()
            sidecar.await_event("gate lost")
            sidecar.await_event("stopped")

    with pytest.raises(GateLost):
        loses_its_gate()


@pytest.mark.parametrize("stream", [False, True])
def test_a_crash_while_an_answer_leaves_keeps_its_end_and_says_that_its_moments_are_unknown(
    tmp_path: Path, model_folder: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """A copy of the database after each durable write is what a crash there leaves."""
    extend = DraftRecorder.extend
    copies: list[Path] = []

    async def copied(self: DraftRecorder, draft: Draft, tokens: bytes, so_far: Record | None = None) -> None:
        await extend(self, draft, tokens, so_far)
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        with closing(sqlite3.connect(settings.log)) as source, closing(sqlite3.connect(copies[-1])) as copy:
            source.backup(copy)

    monkeypatch.setattr(DraftRecorder, "extend", copied)
    settings = settings_in(tmp_path, model_folder, upstream.url, release_pace=PACE)
    with running(settings) as sidecar:
        assert sidecar.complete("Once", max_tokens=10, stream=stream).status_code == 200
        [whole] = sidecar.await_records(1)
    found = []
    for path in copies:
        with LogWriter.open(str(path), origin=ORIGIN) as log:
            assert recover(log) == 1
        (entry,) = LogReader(str(path)).entries(0, 1)
        found.append(decode_record(entry))
    unknown = Release(pace=PACE, streamed=stream)
    assert [record.release for record in found] == [unknown] * len(found)
    assert found[-1] == whole.model_copy(update={"release": unknown})
    assert {record.finish_reason for record in found[:-1]} == {"abort"}


def test_an_address_that_is_taken_and_unusable_tls_files_are_named(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    (tmp_path / "no.pem").write_text("nonsense")
    settings = settings_in(tmp_path, model_folder, upstream.url, release_pace=PACE)
    with pytest.raises(SettingsError, match="TLS"), running(replace(settings, tls_certificate=tmp_path / "no.pem")):
        pass
    taken = socket.create_server((settings.listen.host, settings.listen.port))
    with taken, pytest.raises(SettingsError, match="cannot listen there"), running(settings):
        pass
