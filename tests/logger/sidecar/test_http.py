"""HTTP as clients speak it: paths, methods, web pages, offers of HTTP/2, large headers, errors in each wire's form."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.logger.sidecar.running import Sidecar, events_of, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream, honest
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.startup import opened

KEY = "sk-" + "k" * 20
PAGE = "https://chat.example.org"
BODY = b'{"model": "org/small", "prompt": [5], "max_tokens": 3}'
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\nupgrade: h2c\r\n"
"""The offer of HTTP/2 with which Java's HttpClient begins every connection without TLS."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream) -> Iterator[Sidecar]:
    """A sidecar with keys, web pages, a model's name with a slash, and a small limit of headers."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "keys").write_text(KEY)
    (folder / "keys").chmod(0o600)
    settings = settings_in(
        folder,
        model_folder,
        shared_upstream.url,
        model_name="org/small",
        api_keys=folder / "keys",
        allowed_origins=(PAGE, "http://localhost:3000"),
        limits={"header_bytes": 4096, "body": 10_000, "concurrent": 1},
    )
    shared_upstream.answer = honest
    with running(settings) as sidecar:
        sidecar.client.headers["authorization"] = f"Bearer {KEY}"
        yield sidecar


def connected(sidecar: Sidecar) -> socket.socket:
    url = httpx2.URL(sidecar.url)
    return socket.create_connection((url.host, url.port or 0), timeout=20)


def everything(connection: socket.socket) -> bytes:
    got = b""
    while block := connection.recv(65_536):
        got += block
    return got


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/completions") -> bytes:
    head = b"POST %s HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n" % (path, KEY.encode())
    return head + b"".join(headers) + b"content-length: %d\r\n\r\n" % len(body) + body


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one response with a content-length."""
    got = b""
    while b"\r\n\r\n" not in got:
        block = connection.recv(65_536)
        assert block, got
        got += block
    head, _, body = got.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize("path", ["/v1/completions/", "/v1/completions//", "/v1/completions?stream=no"])
def test_a_path_with_a_slash_at_its_end_is_the_path(web: Sidecar, path: str) -> None:
    assert web.client.post(path, content=BODY).status_code == 200
    assert web.client.get("/v1/models/").json()["data"][0]["id"] == "org/small"
    assert web.client.get("/health/").status_code == 200


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/chat/completions/", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("//v1//chat/completions", "/v1/chat/completions"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("/openai/deployments/gpt/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/v1/engines/davinci/completions", "/v1/completions"),
        ("/models", "/v1/models"),
        ("/models/small", "/v1/models/MODEL"),
        ("/api/health", "/health"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_names_the_one_to_use(web: Sidecar, method: str, path: str, meant: str) -> None:
    response = web.client.request(method, f"{web.url}{path}")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["message"], error["type"]) == (f"there is nothing here; use {meant}", "not_found_error")


def test_a_path_like_none_names_all(web: Sidecar) -> None:
    message = web.client.post("/v1/embeddings").json()["error"]["message"]
    assert message.startswith("there is nothing here; this server has /health, /ready, /v1/chat/completions, ")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/completions", "POST, OPTIONS"),
        ("HEAD", "/v1/chat/completions", "POST, OPTIONS"),
        ("DELETE", "/v1/chat/completions/", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/org/small", "GET, HEAD, OPTIONS"),
        ("PUT", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_told_which_are_allowed(web: Sidecar, method: str, path: str, allow: str) -> None:
    response = web.client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert response.json()["error"]["message"] == f"use {allow.partition(',')[0]} here"
    options = web.client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allow, b"")


def test_head_is_get_without_a_body(web: Sidecar) -> None:
    for path in ("/health", "/v1/models", "/v1/models/org/small"):
        got, head = web.client.get(path), web.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(got.content))
    assert httpx2.head(f"{web.url}/v1/models", trust_env=False).status_code == 401


@pytest.mark.parametrize("path", ["/v1/models/org/small", "/v1/models/org%2Fsmall", "/v1/models/org/small/"])
def test_the_one_model_has_a_path(web: Sidecar, path: str) -> None:
    card = web.client.get(path).json()
    assert card == web.client.get("/v1/models").json()["data"][0]
    assert httpx2.get(f"{web.url}{path}", trust_env=False).status_code == 401


@pytest.mark.parametrize("name", ["small", "gpt-4", "org", "org/small/more", "%0a%1b"])
def test_a_model_that_is_not_served_has_none(web: Sidecar, name: str) -> None:
    response = web.client.get(f"/v1/models/{name}")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["param"], error["code"], error["type"]) == ("model", "model_not_found", "not_found_error")
    assert error["message"].isprintable()
    assert error["message"].endswith("this server serves org/small")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": KEY}, 200),
        ({"x-api-key": KEY, "authorization": "Bearer placeholder"}, 200),
        ({"x-api-key": "placeholder", "authorization": f"Bearer {KEY}"}, 200),
        ({"x-api-key": f"Bearer {KEY}"}, 401),
        ({"x-api-key": KEY[:-1]}, 401),
        ({"x-api-key": ""}, 401),
        ({}, 401),
    ],
)
def test_a_key_is_taken_as_each_kind_of_client_sends_it(web: Sidecar, headers: dict[str, str], status: int) -> None:
    posted = httpx2.post(f"{web.url}/v1/completions", content=BODY, headers=headers, trust_env=False)
    read = httpx2.get(f"{web.url}/v1/models", headers=headers, trust_env=False)
    assert posted.status_code == read.status_code == status
    if status == 401:
        assert posted.headers["www-authenticate"] == read.headers["www-authenticate"] == "Bearer"
        assert "x-api-key" in posted.json()["error"]["message"]


def test_an_error_below_messages_has_anthropics_form(web: Sidecar) -> None:
    response = web.client.post("/v1/messages/batches", json={})
    assert response.status_code == 404
    body = response.json()
    assert body.keys() == {"type", "error"}
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["error"]["message"].startswith("there is nothing here")


def preflight(web: Sidecar, origin: str, path: str = "/v1/chat/completions", **more: str) -> httpx2.Response:
    asked = {"origin": origin, "access-control-request-method": "POST", **more}
    return httpx2.options(f"{web.url}{path}", headers=asked, trust_env=False)


def test_an_allowed_web_page_may_ask_and_read_answers(web: Sidecar) -> None:
    wanted = "authorization,content-type,x-stainless-lang"
    before = preflight(web, PAGE, **{"access-control-request-headers": wanted})
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == PAGE
    assert before.headers["access-control-allow-headers"] == wanted
    assert "POST" in before.headers["access-control-allow-methods"]
    assert int(before.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in before.headers
    origin = {"origin": PAGE}
    stream = BODY.replace(b"}", b', "stream": true}')
    for response in (
        web.client.post("/v1/completions", content=BODY, headers=origin),
        web.client.post("/v1/completions", content=stream, headers=origin),
        web.client.post("/v1/completions", content=b"{", headers=origin),
        web.client.get("/v1/models", headers=origin),
        httpx2.post(f"{web.url}/v1/completions", content=BODY, headers=origin, trust_env=False),
        httpx2.get(f"{web.url}/no/such", headers=origin, trust_env=False),
    ):
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "x-request-id" in response.headers["access-control-expose-headers"]
        assert response.headers["vary"] == "origin"
    assert events_of(web.client.post("/v1/completions", content=stream, headers=origin).text)[-1] == "[DONE]"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://chat.example.org", f"{PAGE}:444", f"{PAGE}.evil.example", "null", PAGE.upper()],
)
def test_another_web_page_may_not(web: Sidecar, origin: str) -> None:
    for response in (preflight(web, origin), web.client.get("/v1/models", headers={"origin": origin})):
        assert "access-control-allow-origin" not in response.headers
        assert "access-control-allow-methods" not in response.headers
        assert response.headers["vary"] == "origin"


def test_what_a_page_asks_to_send_is_repeated_only_if_it_is_names(web: Sidecar) -> None:
    for wanted in ("x" * 2049, "a;b"):
        told = preflight(web, PAGE, **{"access-control-request-headers": wanted})
        assert told.headers["access-control-allow-headers"].startswith("authorization, content-type, x-api-key")


def test_all_pages_or_none_are_allowed_as_the_operator_says(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    with running(settings_in(tmp_path, model_folder, upstream.url, allowed_origins=("*",))) as sidecar:
        got = sidecar.client.get("/health", headers={"origin": "https://any.example"})
        assert got.headers["access-control-allow-origin"] == "*"
        assert "vary" not in got.headers
        assert "--allowed-origins *" in sidecar.events("warning")[-1]["why"]
    with running(settings_in(tmp_path, model_folder, upstream.url)) as sidecar:
        got = sidecar.client.get("/health", headers={"origin": PAGE})
        assert not [name for name in got.headers if name.startswith("access-control") or name == "vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "chat.example.org",
        "https://chat.example.org/",
        "https://A.example",
        "https://a:443",
        "http://a@b",
        "http://a:x",
        "",
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(tmp_path: Path, model_folder: Path, origin: str) -> None:
    settings = settings_in(tmp_path, model_folder, "http://127.0.0.1:9", allowed_origins=(origin,))
    with pytest.raises(SettingsError, match="--allowed-origins"), opened(settings):
        pass


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [1, 7, 100, 10_000], ids=lambda size: f"in pieces of {size}")
def test_an_offer_of_http_2_is_declined_and_the_body_kept(web: Sidecar, chunked: bool, size: int) -> None:
    asked = post(BODY, OFFER)
    if chunked:
        framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        asked = asked.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked").replace(BODY, framed)
    with connected(web) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):  # the connection goes on
            for at in range(0, len(asked), size):
                connection.sendall(asked[at : at + size])
            status, headers, body = answer(connection)
            assert status == 200
            assert not {"upgrade", "connection"} & headers.keys()
            assert json.loads(body)["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("offer", [OFFER, b"connection: upgrade\r\nupgrade: websocket\r\n"], ids=["h2c", "websocket"])
def test_an_offer_without_a_body_is_declined(web: Sidecar, offer: bytes) -> None:
    with connected(web) as connection:
        for _ in range(2):
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n" + offer + b"\r\n")
            assert answer(connection)[0] == 200


def test_what_a_connection_header_says_beside_an_offer_is_heard(web: Sidecar) -> None:
    with connected(web) as connection:
        connection.sendall(post(BODY, OFFER.replace(b"Upgrade,", b"close, Upgrade,")))
        got = everything(connection)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in got


def test_many_offers_behind_a_request_take_nothing_from_its_answer(web: Sidecar) -> None:
    behind = b"GET / HTTP/1.1\r\nhost: a\r\n" + OFFER + b"\r\n"
    with connected(web) as connection:
        connection.sendall(post(BODY) + behind * 100)
        got = everything(connection)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 ") == 1


LARGE = {
    "one header": b"x: " + b"y" * 5000 + b"\r\n",
    "many headers": b"x: y\r\n" * 2000,
    "one header without end": b"x: " + b"y" * 100_000,
}


@pytest.mark.parametrize("headers", LARGE.values(), ids=LARGE)
def test_headers_that_are_too_large_are_told_so(web: Sidecar, headers: bytes) -> None:
    with connected(web) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\n" + headers)
        got = everything(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"] == "the request's headers are larger than 4096 bytes"


def test_a_client_with_large_headers_reads_their_error(web: Sidecar) -> None:
    for size in (3000, 5000, 60_000):
        headers = {"x": "y" * size, "authorization": f"Bearer {KEY}"}
        got = httpx2.post(f"{web.url}/v1/completions", content=BODY, headers=headers, trust_env=False)
        assert got.status_code == (200 if size == 3000 else 431)
    got = httpx2.post(f"{web.url}/v1/messages?beta=true", headers={"x": "y" * 5000}, trust_env=False)
    assert got.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "the request's headers are larger than 4096 bytes"},
    }


def test_a_client_that_ends_its_sending_side_hears_a_refusal_too(web: Sidecar) -> None:
    for sent, status in ((b"this is no HTTP\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nx: " + b"y" * 5000, b"431")):
        with connected(web) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            got = everything(connection)
        assert got.startswith(b"HTTP/1.1 " + status)
        assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"this is no HTTP\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    ids=["text", "HTTP/2", "a proxy's", "a target of other bytes", "TLS", "two lengths"],
)
def test_what_is_no_request_is_told_so(web: Sidecar, rubbish: bytes) -> None:
    with connected(web) as connection:
        connection.sendall(rubbish)
        got = everything(connection)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["message"] == "this is no well-formed HTTP/1.1 request"


def test_a_body_that_is_broken_off_by_rubbish_gets_one_answer(web: Sidecar) -> None:
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    with connected(web) as connection:
        connection.sendall(head + b"rubbish\r\n")
        got = everything(connection)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_guidellms_usage_comes_with_every_event(web: Sidecar, path: str) -> None:
    """The request of guidellm 0.7, whose every event must tell the tokens so far."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"model": "org/small", "stream": True, "stream_options": options, "max_tokens": 4, "stop": None}
    asked = {"prompt": "a"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "a"}]}
    text = web.client.post(path, json={**body, **asked, "ignore_eos": True}).text
    *events, done = events_of(text)
    assert done == "[DONE]"
    counted = [event["usage"]["completion_tokens"] for event in events]
    assert counted == sorted(counted)
    assert set(counted) >= {1, 2, 3, 4}
    assert counted[-1] == 4
    assert all(event["usage"]["prompt_tokens"] > 0 for event in events)


def test_a_compressed_body_is_told_to_come_as_it_is(web: Sidecar) -> None:
    for encoding, status in (("gzip", 415), ("Identity", 200)):
        got = web.client.post("/v1/completions", content=BODY, headers={"content-encoding": encoding})
        assert got.status_code == status
    assert "content-encoding" in web.client.post("/v1/completions", headers={"content-encoding": "br"}).text


def test_who_comes_too_many_is_told_when_to_come_again(web: Sidecar) -> None:
    refused = web.client.post("/v1/completions", content=BODY.replace(b"}", b', "n": 2}'))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def test_who_comes_before_it_can_serve_is_told_when_to_come_again(tmp_path: Path, model_folder: Path) -> None:
    with running(settings_in(tmp_path, model_folder, "http://127.0.0.1:9")) as sidecar:
        response = sidecar.client.get("/ready")
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")


def test_refusals_leave_on_ticks(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    """What the parser refuses, too: its answer must not show how busy the server keeps the sidecar."""
    import time

    requests: dict[str, bytes] = {
        "large headers": b"GET / HTTP/1.1\r\nx: " + b"y" * 50_000,
        "no HTTP": b"rubbish\r\n\r\n",
        "a preflight": b"OPTIONS /v1/models HTTP/1.1\r\norigin: http://a\r\nconnection: close\r\n\r\n",
        "no path": b"GET /no HTTP/1.1\r\nconnection: close\r\n\r\n",
        "no JSON": post(b"{"),
        "another model": post(BODY),
    }
    settings: dict[str, Any] = {"release_tick": 0.3, "allowed_origins": ("http://a",)}
    with running(settings_in(tmp_path, model_folder, upstream.url, **settings)) as sidecar:
        times = []
        for request in requests.values():
            with connected(sidecar) as connection:
                connection.sendall(request)
                assert connection.recv(65_536)
                times.append(time.monotonic())
                if request is requests["no HTTP"]:
                    assert everything(connection) == b""
        gaps = [(later - times[0]) / 0.3 for later in times[1:]]
        assert [round(gap) for gap in gaps] == [1, 2, 3, 4, 5]
        assert all(abs(gap - round(gap)) < 0.3 for gap in gaps)
