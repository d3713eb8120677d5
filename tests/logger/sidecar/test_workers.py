"""Several workers on one address and one log: what one process promises, they promise together."""

import asyncio
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from benchmarks.free_port import free_port
from tests.logger.sidecar.process import Process, config_file, started
from tests.logger.sidecar.running import SEED_KEY, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event, honest
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.reader import LogReader


def workers_of(process: Process) -> list[psutil.Process]:
    """The worker processes of a sidecar."""
    below = psutil.Process(process.process.pid).children()
    return [one for one in below if "weightwarden.logger.sidecar.worker" in one.cmdline()]


def records_of(log: str) -> list[Record]:
    """All records of an intact log."""
    reader = LogReader(log)
    reader.audit()
    return [decode_record(entry) for entry in reader.entries(0, reader.size())]


def asked(url: str, **more: Any) -> httpx2.Response:
    """An answer over a connection of its own, which may go to any worker."""
    body = {"model": "small", "prompt": [5], "max_tokens": 4, **more}
    return httpx2.post(f"{url}/v1/completions", json=body, trust_env=False, timeout=60)


def events_of(process: Process, name: str) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, process.said.read_text().splitlines()) if one["event"] == name]


def awaited_event(process: Process, name: str) -> dict[str, Any]:
    for _ in range(1000):
        if found := events_of(process, name):
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"{name} was not said: {process.said.read_text()}")


async def endless(_: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD
    for token in range(200, 8000):
        yield event([token])
        await asyncio.sleep(0.005)


def test_two_workers_serve_one_address_and_write_one_log(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    metrics = free_port()
    process = started(config_file(tmp_path, model_folder, upstream.url, workers=2, metrics=f"127.0.0.1:{metrics}"))
    assert len(workers_of(process)) == 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda at: asked(process.url, prompt=[5, at]), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 60
    for worker in workers_of(process):
        shown = " ".join(worker.cmdline()) + str(worker.environ())
        assert SEED_KEY.hex() not in shown
    assert process.stop(signal.SIGTERM) == 0
    records = records_of(process.log)
    assert len(records) == 60
    assert len({record.seed for record in records}) == 60
    by_worker = [one["worker"] for one in events_of(process, "request")]
    assert set(by_worker) == {1, 2}
    assert LogReader(process.log).checkpoints()[-1][0] == 60
    assert events_of(process, "stopped")[0]["log_size"] == 60


def test_a_retry_has_the_seed_of_the_request_that_failed_whichever_worker_it_asks(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    async def failing(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"

    upstream.answer = failing
    process = started(config_file(tmp_path, model_folder, upstream.url, workers=2))
    for _ in range(24):
        assert asked(process.url).status_code == 502
    assert process.stop(signal.SIGTERM) == 0
    records = records_of(process.log)
    assert len(records) == 24
    assert len({record.seed for record in records}) == 1
    assert {one["worker"] for one in events_of(process, "request")} == {1, 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_is_killed_is_replaced_and_what_it_served_is_on_record(
    tmp_path: Path, model_folder: Path, upstream: Upstream, number: int
) -> None:
    upstream.answer = endless
    process = started(config_file(tmp_path, model_folder, upstream.url, workers=2))
    received: dict[int, int] = {}

    def ask(at: int) -> None:
        body = {"model": "small", "prompt": [at], "max_tokens": 7000, "stream": True}
        try:
            with httpx2.stream(
                "POST", f"{process.url}/v1/completions", json=body, trust_env=False, timeout=60
            ) as response:
                for line in response.iter_lines():
                    if line.startswith("data: {"):
                        received[at] = received.get(at, 0) + 1
        except httpx2.TransportError:
            pass

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(10, 22)]
    for thread in threads:
        thread.start()
    while len(received) < 12:
        time.sleep(0.01)
    for worker in workers_of(process):
        worker.send_signal(number)
    for thread in threads:
        thread.join()
    upstream.answer = honest
    awaited_event(process, "worker ended")
    answer = None
    for _ in range(200):  # its successor listens on the same socket
        try:
            answer = asked(process.url)
            break
        except httpx2.TransportError:
            time.sleep(0.05)
    assert answer is not None
    assert answer.status_code == 200
    assert process.stop(signal.SIGTERM) == 0
    records = {tuple(record.prompt_token_ids): record for record in records_of(process.log)}
    for at, tokens in received.items():
        assert len(records[(at,)].output_token_ids) >= tokens
        assert records[(at,)].stop_reason == "logger"
    assert records[(5,)].finish_reason == "length"
    assert sum(one["records"] for one in events_of(process, "recovered")) == 12


def test_workers_end_with_the_main_process_and_leave_the_address_free(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    config = config_file(tmp_path, model_folder, upstream.url, workers=2)
    process = started(config)
    below = workers_of(process)
    process.stop(signal.SIGKILL)
    assert psutil.wait_procs(below, timeout=30)[1] == []
    process = started(config)
    assert asked(process.url).status_code == 200
    assert process.stop(signal.SIGTERM) == 0


def test_the_workers_ignore_signals_that_are_meant_for_the_whole_service(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    process = started(config_file(tmp_path, model_folder, upstream.url, workers=2))
    for worker in workers_of(process):
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    assert asked(process.url).status_code == 200
    assert process.stop(signal.SIGINT) == 0
    assert events_of(process, "worker ended") == []


def test_a_second_sidecar_cannot_join_the_address(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    with running(settings_in(tmp_path, model_folder, upstream.url, workers=2)) as sidecar:
        port = int(sidecar.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
            pass


def test_ticks_of_release_need_one_process(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    settings = settings_in(tmp_path, model_folder, upstream.url, workers=2, release_tick=0.1)
    with (
        pytest.raises(SettingsError, match=r"workers: with release-tick .* use release-pace, or one worker"),
        opened(settings),
    ):
        pass


def test_a_worker_that_cannot_begin_says_why(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    config = config_file(tmp_path, model_folder, upstream.url, workers=2)
    certificate = tmp_path / "tls.pem"
    certificate.write_text("no certificate")
    key = tmp_path / "tls.key"
    key.write_text("no key")
    key.chmod(0o600)
    config.write_text(config.read_text() + f'tls-certificate = "{certificate}"\ntls-key = "{key}"\n')
    with pytest.raises(AssertionError, match="TLS: certificate or key cannot be used"):
        started(config)


def test_answers_leave_at_a_pace_from_both_workers(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    config = config_file(tmp_path, model_folder, upstream.url, workers=2, **{"release-pace": "8/50"})
    process = started(config)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda at: asked(process.url, prompt=[5, at], max_tokens=20), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert process.stop(signal.SIGTERM) == 0
    records = records_of(process.log)
    assert len(records) == 16
    assert all(record.release is not None and record.release.pace.tokens == 8 for record in records)
    assert {one["worker"] for one in events_of(process, "request")} == {1, 2}


def test_a_log_that_cannot_be_written_is_told_to_the_workers_and_so_is_its_end(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    process = started(config_file(tmp_path, model_folder, upstream.url, workers=2, checkpoint_every=600))
    assert asked(process.url).status_code == 200
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    before = len(upstream.asked)
    assert {asked(process.url).status_code for _ in range(12)} == {503}
    assert len(upstream.asked) == before  # nothing is asked for that could not be recorded
    failed = awaited_event(process, "log failed")
    assert failed["cause"] == "disk full or failing"
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, unlimited)
    in_a_row = 0
    while in_a_row < 12:  # both workers have tried again
        in_a_row = in_a_row + 1 if asked(process.url).status_code == 200 else 0
    assert process.stop(signal.SIGTERM) == 0
    assert len(records_of(process.log)) >= 13
