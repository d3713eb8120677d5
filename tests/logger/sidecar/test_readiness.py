"""`/ready`: what a server can say by it, and when."""

import asyncio
import io
import itertools
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.readiness import FIRST_SECONDS, Readiness, ServerChecks
from weightwarden.logger.sidecar.upstream.replicas import Replica, Replicas

PERIOD = 10.0


class Clock:
    """Time that passes only while somebody sleeps; the wakes of one moment come in the order of the sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        wakes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, next(self._numbers), wakes))
        await wakes

    async def run(self, until: float) -> None:
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            due = [one for one in self._sleepers if not one[2].done()]
            if not due or min(due)[0] > until:
                return
            first = min(due)
            self._sleepers.remove(first)
            self.now = first[0]
            first[2].set_result(None)


def changes(answers: list[tuple[float, str | None]]) -> tuple[list[float], int]:
    """When `/ready` changes what it says, for a server that answers look after look so late and so; and the looks.

    The receiver asks for ever, at any time.
    """

    async def main() -> tuple[list[float], int]:
        clock = Clock()
        looks = 0

        async def check() -> str | None:
            nonlocal looks
            late, unfit = answers[min(looks, len(answers) - 1)]
            looks += 1
            await clock.sleep(late)
            return unfit

        server: Any = SimpleNamespace(check=check, others=())
        metrics, events = Metrics(), Events(io.StringIO())
        replicas = Replicas([Replica("a", server)], metrics, events, clock)
        checks = ServerChecks(replicas, events, metrics, period=PERIOD, clock=clock, sleep=clock.sleep)
        service: Any = SimpleNamespace(stopping=False)
        recorder: Any = SimpleNamespace(failing=False)
        ready = Readiness(service, recorder, replicas)
        seen: list[tuple[float, str | None]] = []

        async def receiver() -> None:
            while True:
                seen.append((clock.now, ready()))
                await clock.sleep(0.1)

        tasks = [asyncio.ensure_future(work) for work in _all(checks.watch(), receiver())]
        await clock.run(until=12 * PERIOD)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [at for (_, was), (at, now) in itertools.pairwise(seen) if was != now], looks

    return asyncio.run(main())


def _all(*work: Coroutine[Any, Any, None]) -> tuple[Coroutine[Any, Any, None], ...]:
    return work


def test_symbols_of_eight_bits_that_a_server_says_by_its_delay_do_not_arrive() -> None:
    symbols = [17, 202, 5, 99, 255, 0, 128, 64]
    late = [(0.01 + symbol * PERIOD / 300, None if at % 2 else "unfit") for at, symbol in enumerate(symbols)]
    at_once = [(0.001, unfit) for _, unfit in late]
    assert changes(late)[0][1:] == changes(at_once)[0][1:]  # the same states at the same times, whatever the delays
    for at in changes(late)[0]:
        assert min(abs(at - FIRST_SECONDS), at % PERIOD, PERIOD - at % PERIOD) < 0.2


def test_no_more_than_one_of_two_states_is_said_a_tick() -> None:
    at, looks = changes([(0.001, None if look % 2 else f"reason {look}") for look in range(100)])
    assert len(at) <= looks <= 14
    assert all(later - earlier > PERIOD - FIRST_SECONDS - 0.2 for earlier, later in itertools.pairwise(at))


def test_a_server_that_never_answers_is_unfit_and_looked_at_again() -> None:
    at, looks = changes([(0.001, None), (10_000.0, None), (0.001, None)])
    assert looks == 14
    assert at == pytest.approx([FIRST_SECONDS, PERIOD, 2 * PERIOD], abs=0.2)


def test_a_client_has_its_answer_from_memory_and_makes_no_request(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    upstream.models_gate = gate = threading.Event()
    settings = settings_in(tmp_path, model_folder, upstream.url, limits={"ready": 600.0})
    try:
        with running(settings) as sidecar:
            with httpx2.Client(base_url=sidecar.url, timeout=5, trust_env=False) as client:
                said = {(got.status_code, got.text) for got in (client.get("/ready") for _ in range(30))}
            assert said == {(503, '{"status":"the inference server is not ready"}')}
            assert upstream.looked == 1
            gate.set()
    finally:
        gate.set()


def test_a_server_of_a_shorter_context_is_said_at_start_and_while_running_with_the_option(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    upstream.max_model_len = 2048
    settings = settings_in(tmp_path, model_folder, upstream.url, limits={"ready": 0.2})
    with running(settings) as sidecar:
        assert "--max-model-len" in sidecar.await_event("upstream")["unfit"]
        assert sidecar.client.get("/ready").status_code == 503
        assert "2048" not in sidecar.said.getvalue()  # what a server says is not repeated, not even to the operator
        upstream.max_model_len = 8192
        sidecar.await_ready()
        upstream.max_model_len = 100
        assert "100" not in sidecar.await_ready(503)
        assert "--max-model-len" in sidecar.events("upstream")[-1]["unfit"]
        upstream.max_model_len = None
        sidecar.await_ready()
    fits = settings_in(tmp_path, model_folder, upstream.url, limits={"ready": 0.2}, max_model_len=2048)
    upstream.max_model_len = 2048
    with running(fits) as sidecar:
        sidecar.await_ready()


@pytest.mark.parametrize("said", ['"2048"', "-1", "1e400", "[]", str(10**30)])
def test_a_length_that_is_none_leaves_the_watch_running(
    tmp_path: Path, model_folder: Path, upstream: Upstream, said: str
) -> None:
    upstream.max_model_len = said
    settings = settings_in(tmp_path, model_folder, upstream.url, limits={"ready": 0.1})
    with running(settings) as sidecar:
        for _ in range(500):
            if upstream.looked >= 2:
                break
            threading.Event().wait(0.01)
        upstream.max_model_len = None
        sidecar.await_ready()
