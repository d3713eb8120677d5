"""A sidecar before several servers of one model: who answers, what is on record, and what a client sees of it."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.free_port import free_port
from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import (
    FIRST,
    HEAD,
    Upstream,
    drawn,
    event,
    honest,
    response,
    scripted_upstream,
    sends,
)
from tests.logger.sidecar.test_health import awaited, scraped
from weightwarden.logger.archive.check import certified_entries
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.doctor.files import now_utc
from weightwarden.logger.doctor.finding import Finding, Status
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Reasoning
from weightwarden.logger.sealing import seal
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.doctor import examine
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.wire.requests import CompletionRequest, GenerationRequest
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey

NAMES = ("gpu-one", "gpu-two", "gpu-three")


@dataclass
class Site:
    """Servers by name, and the settings of a sidecar before them."""

    servers: dict[str, Upstream]
    settings: Settings

    @property
    def metrics(self) -> int:
        """Port of the sidecar's metrics."""
        assert self.settings.metrics is not None
        return self.settings.metrics.port

    def asked(self) -> dict[str, int]:
        return {name: len(server.asked) for name, server in self.servers.items()}


@pytest.fixture
def site(tmp_path: Path, model_folder: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(scripted_upstream()) for name in NAMES}
        urls = [f"{name}={server.url}" for name, server in servers.items()]
        limits = {"first_token": 10.0, "ready": 0.2}
        settings = settings_in(tmp_path, model_folder, *urls, limits=limits)
        yield Site(servers, replace(settings, metrics=Address(host="127.0.0.1", port=free_port())))


@pytest.fixture
def sidecar(site: Site) -> Iterator[Sidecar]:
    with running(site.settings) as one:
        one.await_ready()
        yield one


def waiting_for(gate: threading.Event) -> Callable[[dict[str, Any]], AsyncIterator[bytes]]:
    """An honest answer that waits for a gate after its first token."""

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        first, *ids = drawn(body)
        yield event([first])
        while not gate.is_set():
            await asyncio.sleep(0.01)
        yield event(ids, "length")

    return answer


def test_requests_take_turns_and_records_name_the_server_that_answered(site: Site, sidecar: Sidecar) -> None:
    for at in range(9):
        assert sidecar.complete([5, at], max_tokens=2).status_code == 200
    assert site.asked() == dict.fromkeys(NAMES, 3)
    records = sidecar.await_records(9)
    for record in records:
        server = site.servers[record.replica or ""]
        assert [body for body in server.asked if body["prompt"] == record.prompt_token_ids]


def test_a_slow_server_is_given_no_more_than_the_others_hold(site: Site, sidecar: Sidecar) -> None:
    gate = threading.Event()
    site.servers["gpu-two"].answer = waiting_for(gate)
    threads = [threading.Thread(target=sidecar.complete, args=([5],), kwargs={"max_tokens": 2}) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        awaited(lambda: all(site.asked().values()))
        awaited(lambda: len(sidecar.records()) == 2)
        assert scraped(site.metrics)["replica_choices_in_flight", "gpu-two"] == 1
        for at in range(6):
            sidecar.complete([6, at], max_tokens=2)
        assert site.asked() == {"gpu-one": 4, "gpu-two": 1, "gpu-three": 4}
    finally:
        gate.set()
        for thread in threads:
            thread.join(20)
    assert Counter(record.replica for record in sidecar.await_records(9)) == site.asked()


def test_all_choices_and_prompts_of_a_request_go_to_one_server(site: Site, sidecar: Sidecar) -> None:
    assert sidecar.complete([[5, 6], [7, 8]], n=3, max_tokens=2).status_code == 200
    assert sorted(site.asked().values()) == [0, 0, 6]
    assert len({record.replica for record in sidecar.await_records(6)}) == 1


def test_the_rest_after_a_forced_end_is_drawn_by_the_same_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = RequestInterpreter.of_completion

    async def reasoning(self: RequestInterpreter, request: CompletionRequest) -> GenerationRequest:
        return replace(
            await plain(self, request),
            reasoning=Reasoning(start="", end="</think>", budget=3, forced_end="\n</think>\n\n"),
        )

    monkeypatch.setattr(RequestInterpreter, "of_completion", reasoning)
    with running(site.settings) as sidecar:
        for at in range(5):
            assert sidecar.complete([5, at], max_tokens=20).status_code == 200
        records = sidecar.await_records(5)
    assert all(record.segments is not None and len(record.segments) == 3 for record in records)
    for name, server in site.servers.items():
        prompts = [body["prompt"][:2] for body in server.asked]
        assert prompts == [record.prompt_token_ids for record in records if record.replica == name for _ in range(2)]


@pytest.mark.parametrize("stream", [True, False])
def test_no_client_sees_which_server_answers(site: Site, sidecar: Sidecar, stream: bool) -> None:
    for at in range(3):
        got = sidecar.complete([5, at], max_tokens=2, stream=stream)
        assert got.status_code == 200
        said = got.text + str(got.headers)
        assert not any(one in said for one in (*NAMES, *(server.url[7:] for server in site.servers.values())))
    for path in ("/v1/models", "/ready", "/health"):
        assert "gpu" not in sidecar.client.get(path).text


def test_a_server_that_dies_fails_its_request_and_the_next_go_elsewhere_with_the_old_seed(
    site: Site, sidecar: Sidecar
) -> None:
    site.servers["gpu-one"].answer = sends(response("500 Internal Server Error"))
    assert sidecar.complete([5], max_tokens=4).status_code == 502
    [failed] = sidecar.await_records(1)
    assert (failed.replica, failed.finish_reason, failed.stop_reason) == ("gpu-one", "abort", "upstream")
    assert sidecar.complete([5], max_tokens=4).status_code == 200
    again = sidecar.await_records(2)[-1]
    assert again.replica == "gpu-two"
    assert again.seed == failed.seed
    for at in range(6):
        assert sidecar.complete([6, at], max_tokens=2).status_code == 200
    assert {record.replica for record in sidecar.await_records(8)[1:]} == {"gpu-two", "gpu-three"}
    assert sidecar.client.get("/ready").status_code == 200
    said = sidecar.await_event("replica failed")
    assert (said["replica"], said["reason"]) == ("gpu-one", "status 500")
    assert scraped(site.metrics)["replica_failures_total", "gpu-one"] == 1


def test_a_server_lost_in_mid_answer_is_left_out_and_what_left_names_it(site: Site, sidecar: Sidecar) -> None:
    site.servers["gpu-one"].answer = sends(FIRST)
    got = sidecar.complete([5], max_tokens=4, stream=True)
    assert "the inference server failed" in got.text
    [record] = sidecar.await_records(1)
    assert (record.replica, record.output_token_ids) == ("gpu-one", [100])
    for at in range(4):
        assert sidecar.complete([6, at], max_tokens=2).status_code == 200
    assert site.asked()["gpu-one"] == 1


def test_a_refused_request_does_not_take_its_server_out(site: Site, sidecar: Sidecar) -> None:
    site.servers["gpu-one"].answer = sends(response("400 Bad Request"))
    assert sidecar.complete([5], max_tokens=2).status_code == 502
    site.servers["gpu-one"].answer = honest
    for at in range(3):
        assert sidecar.complete([6, at], max_tokens=2).status_code == 200
    assert site.asked() == {"gpu-one": 2, "gpu-two": 1, "gpu-three": 1}


def test_it_is_ready_while_one_server_is_and_an_unfit_one_is_not_asked(site: Site, sidecar: Sidecar) -> None:
    for name in NAMES[:2]:
        site.servers[name].models = ("another",)
    awaited(lambda: {one["replica"] for one in sidecar.events("upstream") if one["unfit"]} == set(NAMES[:2]))
    assert sidecar.client.get("/ready").status_code == 200
    for at in range(4):
        assert sidecar.complete([5, at], max_tokens=2).status_code == 200
    assert site.asked() == {"gpu-one": 0, "gpu-two": 0, "gpu-three": 4}
    assert [scraped(site.metrics)["replica_up", name] for name in NAMES] == [0, 0, 1]
    assert scraped(site.metrics)["upstream_up", ""] == 1
    site.servers["gpu-three"].models = ("another",)
    assert sidecar.await_ready(503) == '{"status":"the inference server is not ready"}'
    assert scraped(site.metrics)["upstream_up", ""] == 0
    site.servers["gpu-one"].models = ("upstream-model",)
    sidecar.await_ready()


def test_archives_hold_the_names(site: Site, tmp_path: Path) -> None:
    with running(site.settings) as sidecar:
        for at in range(3):
            sidecar.complete([5, at], max_tokens=2)
        sidecar.await_records(3)
    seal(site.settings.log, str(tmp_path / "archives"), [SigningKey.read(tmp_path / "log.key")])
    keys = PublicKeys(SigningKey.read(tmp_path / "log.key").verifier)
    [archive] = [read_archive(url, keys) for url in archive_urls([str(tmp_path / "archives")])]
    entries = [entry for _, entry in certified_entries(archive)]
    assert [decode_record(entry).replica for entry in entries] == list(NAMES)


def test_the_only_server_is_not_named_anywhere(site: Site, tmp_path: Path) -> None:
    with running(replace(site.settings, upstreams=site.settings.upstreams[:1])) as sidecar:
        sidecar.await_ready()
        assert sidecar.complete([5], max_tokens=2).status_code == 200
        assert [record.replica for record in sidecar.await_records(1)] == [None]
        text = httpx2.get(f"http://127.0.0.1:{site.metrics}/metrics", trust_env=False).text
        assert 'replica="' not in text
        assert "gpu-one" not in sidecar.said.getvalue()


def _doctor(settings: Settings, check: str) -> list[Finding]:
    return [one for one in examine(settings, now_utc) if one.check.startswith(check)]


def test_doctor_asks_each_server_and_compares_their_answers(site: Site) -> None:
    found = _doctor(site.settings, "upstream")
    assert [one.check for one in found] == [f"upstream {name}" for name in NAMES]
    [same] = _doctor(site.settings, "same answers")
    assert (same.status, "the same 32 tokens" in same.found) == (Status.OK, True)
    asked = [server.asked[-1] for server in site.servers.values()]
    assert asked[0]["seed"] is not None
    assert asked == asked[:1] * 3

    async def another(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        yield event(drawn({**body, "seed": 7}), "length")

    site.servers["gpu-two"].answer = another
    [other] = _doctor(site.settings, "same answers")
    assert (other.status, other.found.endswith("gpu-one, gpu-three | gpu-two")) == (Status.WARNING, True)
    site.servers["gpu-two"].answer = sends(response("500 Internal Server Error"))
    [failing] = _doctor(site.settings, "same answers")
    assert (failing.status, failing.found.startswith("gpu-two: fails")) == (Status.FAULT, True)


def test_doctor_names_the_server_that_cannot_serve_and_asks_for_no_answers(site: Site) -> None:
    site.servers["gpu-three"].models = ("another",)
    [*_, faulty] = _doctor(site.settings, "upstream")
    assert (faulty.check, faulty.status) == ("upstream gpu-three", Status.FAULT)
    assert _doctor(site.settings, "same answers") == []
    assert site.asked() == dict.fromkeys(NAMES, 0)
