"""A server that refuses what the sidecar asks, or ends it early by a cap of its own: charged, said, and named."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, honest, response, sends
from weightwarden.logger.sidecar.upstream.client import ATTEMPTS

FAILED = {"message": "the inference server failed", "type": "upstream_error", "param": None, "code": None}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("status", "option", "attempts"),
    [
        (400, "--max-model-len", 1),
        (401, "--upstream-key", 1),
        (403, "--upstream-key", 1),
        (404, "--upstream-model", 1),
        (413, "a proxy", 1),
        (422, "--max-model-len", 1),
        (429, "overloaded", ATTEMPTS),
        (499, "--max-model-len", 1),
    ],
)
def test_a_refusal_is_a_record_of_its_own_kind_and_an_event_that_names_the_option(
    impatient: Sidecar, shared_upstream: Upstream, status: int, option: str, attempts: int, stream: bool
) -> None:
    shared_upstream.answer = sends(response(f"{status} SECRET", b'{"message": "SECRET"}'))
    before, said = len(impatient.records()), len(impatient.events("upstream refused"))
    asked = len(shared_upstream.asked)
    got = impatient.complete(stream=stream, max_tokens=30)
    assert (got.status_code, got.json()) == (502, {"error": FAILED})  # as any failure: the server has no say in it
    record = impatient.await_records(before + 1)[-1]
    assert (record.finish_reason, record.stop_reason, record.output_token_ids) == ("abort", "refused", [])
    event_said = impatient.await_event("upstream refused", said + 1)
    assert event_said["status"] == status
    assert option in event_said["cause"]
    assert "SECRET" not in impatient.said.getvalue()
    assert len(shared_upstream.asked) == asked + attempts


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599, 301])
def test_a_failure_is_no_refusal(impatient: Sidecar, shared_upstream: Upstream, status: int) -> None:
    shared_upstream.answer = sends(response(f"{status} No"))
    before = len(impatient.records())
    assert impatient.complete(max_tokens=30).status_code == 502
    assert impatient.await_records(before + 1)[-1].stop_reason == "upstream"


def test_when_one_prompt_is_refused_the_others_are_no_failures_either(
    impatient: Sidecar, shared_upstream: Upstream
) -> None:
    async def one_refused(body: dict[str, Any]) -> AsyncIterator[bytes]:
        if len(body["prompt"]) > 3:
            await asyncio.sleep(0.1)
            yield response("400 Bad Request")
            return
        yield HEAD
        for token in range(200, 1200):
            yield event([token])
            await asyncio.sleep(0.01)

    shared_upstream.answer = one_refused
    before = len(impatient.records())
    got = impatient.complete([[5, 6], [5, 6, 7, 8], [5, 6, 7]], stream=True, max_tokens=2000)
    assert events_of(got.text)[-1] == {"error": FAILED}
    records = impatient.await_records(before + 3)[-3:]
    assert {(record.finish_reason, record.stop_reason) for record in records} == {("abort", "refused")}


def test_a_refused_request_keeps_its_seed(impatient: Sidecar, shared_upstream: Upstream) -> None:
    shared_upstream.asked.clear()
    shared_upstream.answer = sends(response("400 Bad Request"))
    assert impatient.complete("Refuse me").status_code == 502
    shared_upstream.answer = honest
    assert impatient.complete("Refuse me").status_code == 200
    assert len({asked["seed"] for asked in shared_upstream.asked}) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_cap_of_the_servers_own_is_recorded_as_claimed_and_its_options_are_named(
    impatient: Sidecar, shared_upstream: Upstream, stream: bool
) -> None:
    async def capped(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD + event(list(range(200, 208)), "length")

    shared_upstream.answer = capped
    before, said = len(impatient.records()), len(impatient.events("upstream ended early"))
    assert impatient.complete(stream=stream, max_tokens=64).status_code == 200
    record = impatient.await_records(before + 1)[-1]
    assert (record.finish_reason, len(record.output_token_ids)) == ("length", 8)
    event_said = impatient.await_event("upstream ended early", said + 1)
    assert (event_said["tokens"], event_said["limit"]) == (8, 64)
    assert "--override-generation-config" in event_said["cause"]
    assert "max_new_tokens" in event_said["cause"]
    assert impatient.complete(stream=stream, max_tokens=8).status_code == 200
    assert len(impatient.events("upstream ended early")) == said + 1  # at the limit nothing is early


def test_room_that_a_failure_frees_is_free_when_the_failure_is_told_and_not_before(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    """Another client that asks again and again would see when the server failed, off the ticks."""

    async def fails(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield response("400 No")

    upstream.answer = fails
    settings = settings_in(tmp_path, model_folder, upstream.url, release_tick=2.0, limits={"concurrent": 1})
    with running(settings) as sidecar:
        told = threading.Event()
        statuses: list[int] = []

        def first() -> None:
            statuses.append(sidecar.complete(max_tokens=1).status_code)
            told.set()

        asking = threading.Thread(target=first)
        asking.start()
        sidecar.await_event("upstream refused")  # it failed; what is left to wait for is the tick
        with httpx2.Client(base_url=sidecar.url, timeout=30, trust_env=False) as other:
            if not told.is_set():
                body = {"model": "small", "prompt": [5], "max_tokens": 1}
                assert other.post("/v1/completions", json=body).status_code == 429
        asking.join(30)
        assert statuses == [502]
