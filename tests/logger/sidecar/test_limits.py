"""What one client can cost, and what it is told."""

import asyncio
import itertools
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.release import Pace
from weightwarden.logger.serving.api_keys import ApiKeys

KEY = "sk-" + "k" * 20


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream
) -> Iterator[Sidecar]:
    limits = {
        "headers": 0.6,
        "receive": 0.6,
        "idle": 1,
        "connections": 20,
        "header_bytes": 4096,
        "concurrent": 4,
        "prompt": 50,
        "body": 4 * 2**20,
    }
    folder = tmp_path_factory.mktemp("strict")
    (folder / "keys").write_text(f"# clients\n{KEY}\n\nsk-another-key-of-a-client\n")
    (folder / "keys").chmod(0o600)
    settings = settings_in(folder, model_folder, shared_upstream.url, limits=limits, api_keys=folder / "keys")
    with running(settings) as sidecar:
        sidecar.client.headers["authorization"] = f"Bearer {KEY}"
        yield sidecar


def connected(sidecar: Sidecar) -> socket.socket:
    url = httpx2.URL(sidecar.url)
    return socket.create_connection((url.host, url.port or 0), timeout=10)


def closed_after(connection: socket.socket) -> float:
    """Seconds until the other side closed the connection."""
    started = time.monotonic()
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - started


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST /v1/completions HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nhost: a\r\nx: "],
    ids=["nothing", "a request line", "half a header"],
)
def test_a_client_that_is_slow_with_its_headers_is_cut_off(strict: Sidecar, begun: bytes) -> None:
    with connected(strict) as connection:
        connection.sendall(begun)
        assert closed_after(connection) < 5


def dripped(connection: socket.socket, first: bytes, then: bytes, pause: float) -> float:
    """Seconds for which a connection takes header after header."""
    started = time.monotonic()
    try:
        connection.sendall(first)
        while time.monotonic() - started < 10:
            connection.sendall(then)
            time.sleep(pause)
    except OSError:
        pass
    return time.monotonic() - started


def test_a_client_that_drips_headers_is_cut_off_all_the_same(strict: Sidecar) -> None:
    with connected(strict) as connection:
        assert dripped(connection, b"GET /health HTTP/1.1\r\n", b"x-a: b\r\n", 0.1) < 5


@pytest.mark.parametrize("header", [b"x-a: " + b"b" * 1000 + b"\r\n", b"c" * 1000], ids=["many", "one"])
def test_headers_without_end_are_cut_off_before_their_time_is_up(
    tmp_path: Path, model_folder: Path, header: bytes
) -> None:
    settings = settings_in(tmp_path, model_folder, "http://127.0.0.1:9", limits={"headers": 60.0})
    with running(settings) as sidecar, connected(sidecar) as connection:
        assert dripped(connection, b"GET / HTTP/1.1\r\nx: ", header, 0.001) < 5


def test_headers_within_the_limit_are_taken(strict: Sidecar) -> None:
    assert strict.client.get("/health").status_code == 200
    long = httpx2.get(f"{strict.url}/health", headers={"x": "y" * 3000}, trust_env=False)
    assert long.status_code == 200


def test_a_body_that_does_not_come_is_told_of_and_cut_off(strict: Sidecar) -> None:
    with connected(strict) as connection:
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n{{"
        )
        connection.sendall(head.encode())
        connection.settimeout(10)
        assert b" 408 " in connection.recv(65_536)
        assert closed_after(connection) < 5


def drip_body(strict: Sidecar, head: str, drip: bytes) -> float:
    """Seconds until a connection is closed whose request is answered long before it ends."""
    with connected(strict) as connection:
        connection.sendall(head.encode())
        connection.settimeout(10)
        assert b" 401 " in connection.recv(65_536)
        return dripped(connection, b"", drip, 0.05)


def test_a_body_that_goes_on_after_its_answer_keeps_no_connection(strict: Sidecar) -> None:
    assert drip_body(strict, "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n", b"x") < 5


def test_trailers_without_end_are_neither_kept_nor_taken_for_long(strict: Sidecar) -> None:
    head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    before = psutil.Process().memory_info().rss
    assert drip_body(strict, head, b"a: b\r\n" * 10_000) < 5
    assert psutil.Process().memory_info().rss - before < 32 * 2**20


def test_a_request_behind_another_does_not_hide_that_its_client_is_gone(
    strict: Sidecar, shared_upstream: Upstream
) -> None:
    async def slow(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for token in range(200, 3000):
            yield event([token])
            await asyncio.sleep(0.01)

    shared_upstream.answer = slow
    before = len(strict.records())
    body = b'{"model": "small", "prompt": [5], "max_tokens": 2000, "stream": true}'
    with connected(strict) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert b" 200 " in connection.recv(65_536)
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.2)
    record = strict.await_records(before + 1)[-1]
    assert (record.finish_reason, record.stop_reason) == ("abort", "client")
    assert len(record.output_token_ids) < 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [' + b"1," * 1_000_000 + b"1]}",
        b'{"messages": [{' + b",".join(b'"k%d": 1' % i for i in range(200_000)) + b"}]}",
        b"{" + b",".join(b'"k%d": 1' % i for i in range(200_000)) + b"}",
        b'{"model": "small", "logit_bias": {' + b",".join(b'"k%d": "x"' % i for i in range(200_000)) + b"}}",
        b'{"model": "small", "stop": [' + b"1," * 1_000_000 + b"1]}",
        b'{"model": "small", "messages": [{"role": "user", "content": [' + b"1," * 1_000_000 + b"1]}]}",
    ],
    ids=["messages", "a message's fields", "fields", "biases", "stops", "parts"],
)
def test_a_large_body_of_errors_costs_little(strict: Sidecar, body: bytes) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    waits: list[float] = []
    done = threading.Event()

    def watch() -> None:
        with httpx2.Client(base_url=strict.url, trust_env=False) as client:
            while not waits or not done.is_set():
                started = time.monotonic()
                client.get("/health")
                waits.append(time.monotonic() - started)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        got = strict.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    finally:
        done.set()
        watcher.join()
    assert got.status_code == 400
    assert process.memory_info().rss - before < 250 * 2**20
    assert sorted(waits)[len(waits) // 2] < 1


def test_prompts_of_many_numbers_are_parsed_once(strict: Sidecar) -> None:
    started = time.process_time()
    assert strict.complete([5] * 500_000).status_code == 400
    assert time.process_time() - started < 5


def test_an_idle_connection_is_closed(strict: Sidecar) -> None:
    with connected(strict) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b" 200 " in connection.recv(65_536)
        assert closed_after(connection) < 5


def test_connections_beyond_the_limit_are_refused_and_those_within_go_on(strict: Sidecar) -> None:
    assert strict.client.get("/health").status_code == 200
    crowd = [connected(strict) for _ in range(40)]
    try:
        time.sleep(0.1)
        closed = 0
        for connection in crowd:
            connection.settimeout(0.05)
            try:
                closed += connection.recv(1) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                closed += 1
        assert closed >= 20
        assert strict.client.get("/health").status_code == 200
    finally:
        for connection in crowd:
            connection.close()
    time.sleep(0.2)


def test_choices_beyond_the_limit_are_told_to_come_again(strict: Sidecar, shared_upstream: Upstream) -> None:
    gate = threading.Event()

    async def waiting(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        while not gate.is_set():
            await asyncio.sleep(0.01)
        yield event([200], "length")

    shared_upstream.answer = waiting
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(strict.complete, n=2, max_tokens=1) for _ in range(2)]
        for _ in range(500):
            if len(shared_upstream.asked) >= 4:
                break
            time.sleep(0.01)
        refused = strict.complete(max_tokens=1)
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "rate_limit_error"
        gate.set()
        assert [one.result().status_code for one in pending] == [200, 200]
    assert strict.complete(max_tokens=1).status_code == 200


def test_a_prompt_longer_than_the_operator_allows_is_refused(strict: Sidecar) -> None:
    assert strict.complete([5] * 51).status_code == 400
    assert "more than 50" in strict.complete([5] * 51).json()["error"]["message"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer é"],
)
def test_without_a_key_nothing_is_answered(strict: Sidecar, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    with httpx2.Client(base_url=strict.url, headers=headers, trust_env=False) as stranger:  # type: ignore[arg-type]
        for path in ("/v1/completions", "/v1/chat/completions"):
            got = stranger.post(path, json={"model": "small", "prompt": "a"})
            assert got.status_code == 401
            assert got.json()["error"]["type"] == "authentication_error"
        assert stranger.get("/v1/models").status_code == 401
        assert stranger.get("/health").status_code == 200


def test_each_key_of_the_file_admits(strict: Sidecar) -> None:
    for key in (KEY, "sk-another-key-of-a-client"):
        got = httpx2.get(f"{strict.url}/v1/models", headers={"authorization": f"bearer {key}"}, trust_env=False)
        assert got.status_code == 200


@pytest.mark.parametrize(
    ("content", "what"),
    [("", "no API key"), ("# none\n", "no API key"), ("short\n", "at least 16"), ("schlüssel-" * 3, "ASCII")],
)
def test_a_key_file_that_is_none_is_refused_and_never_shown(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=what) as failed:
        ApiKeys.read(path)
    assert "short" not in str(failed.value)


@pytest.mark.parametrize("pace", [None, Pace(tokens=1, milliseconds=1)])
def test_tls_by_file(tmp_path: Path, model_folder: Path, upstream: Upstream, pace: Pace | None) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    settings = settings_in(
        tmp_path, model_folder, upstream.url, tls_certificate=certificate, tls_key=key, release_pace=pace
    )
    with running(settings) as sidecar:
        context = ssl.create_default_context(cafile=str(certificate))
        url = sidecar.url.replace("http:", "https:")
        body = {"model": "small", "prompt": "a", "max_tokens": 2}
        got = httpx2.post(f"{url}/v1/completions", json=body, verify=context, trust_env=False)
        assert got.status_code == 200
        large = httpx2.get(f"{url}/health", headers={"x": "y" * 40_000}, verify=context, trust_env=False)
        assert large.status_code == 431


def test_on_ticks_tokens_leave_at_no_other_time(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    async def irregular(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for at, token in enumerate(range(200, 240)):
            yield event([token])
            await asyncio.sleep(0.003 * (at % 7))
        yield event([240], "length")

    def releases(tick: float | None) -> list[float]:
        """When blocks of events arrived, seconds."""
        upstream.answer = irregular
        folder = tmp_path / str(tick)
        folder.mkdir()
        with running(settings_in(folder, model_folder, upstream.url, release_tick=tick)) as sidecar:
            body = {"model": "small", "prompt": "a", "max_tokens": 41, "stream": True}
            with sidecar.client.stream("POST", "/v1/completions", json=body) as response:
                return [time.perf_counter() for _ in response.iter_raw()]

    def off_grid(times: list[float], tick: float) -> float:
        """Largest distance of two releases from a whole number of ticks, in ticks."""
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        return sorted(abs(gap / tick - round(gap / tick)) for gap in gaps)[len(gaps) * 3 // 4]

    assert off_grid(releases(0.05), 0.05) < 0.15
    assert off_grid(releases(None), 0.05) > 0.15
