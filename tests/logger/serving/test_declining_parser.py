"""A request with an offer of another protocol is parsed as the same request without, however its bytes are split."""

import itertools
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.serving.declining_parser import DecliningParser

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "none": b"",
}
BODIES = {
    "length": b"Content-Length: 5\r\n\r\nhello",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "nothing": b"\r\n",
}


class Server:
    """The requests that a parser saw: method, target, headers, body, and whether the connection goes on."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.seen: list[dict[str, Any]] = []
        self.parser = DecliningParser(self)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert not self.parser.should_upgrade()
        self.method, self.version = self.parser.get_method(), self.parser.get_http_version()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        request = {"method": self.method, "url": self.url, "version": self.version, "body": self.body}
        self.seen.append({**request, "headers": self.headers, "goes on": self.parser.should_keep_alive()})


def seen(data: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    server = Server()
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(at):
        server.parser.feed_data(data[start:end])
    return server.seen


@given(
    offers=st.lists(st.sampled_from(sorted(OFFERS)), min_size=1, max_size=4),
    body=st.sampled_from(sorted(BODIES)),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
)
def test_every_request_is_seen_whole_and_without_its_offer(offers: list[str], body: str, cuts: list[int]) -> None:
    head = b"POST /v1/x?y=z HTTP/1.1\r\nHost: a\r\nX-A:  b c \r\n"
    requests = seen(b"".join(head + OFFERS[offer] + BODIES[body] for offer in offers), cuts)
    assert len(requests) == len(offers)
    for request in requests:
        assert (request["method"], request["url"], request["version"]) == (b"POST", b"/v1/x?y=z", "1.1")
        assert request["body"] == (b"" if body == "nothing" else b"hello")
        assert (b"x-a", b"b c ") in request["headers"]
        assert not {b"upgrade", b"http2-settings"} & {name for name, _ in request["headers"]}
        assert b"pgrade" not in dict(request["headers"]).get(b"connection", b"")
        assert request["goes on"]


def test_the_rest_of_a_connection_header_stays() -> None:
    offer = b"GET / HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    (request,) = seen(offer, [])
    assert dict(request["headers"])[b"connection"] == b"close"
    assert not request["goes on"]
    old = b"GET / HTTP/1.0\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    (request,) = seen(old, [])
    assert (request["version"], request["goes on"]) == ("1.0", True)


def test_many_offers_in_one_block_are_no_deep_recursion() -> None:
    one = b"GET / HTTP/1.1\r\n" + OFFERS["h2c"] + b"\r\n"
    assert len(seen(one * 5000, [])) == 5000


def test_connect_is_no_offer() -> None:
    server = Server()
    with pytest.raises(httptools.HttpParserUpgrade):
        server.parser.feed_data(b"CONNECT /x HTTP/1.1\r\nhost: a\r\n\r\nrest")
    assert [one["method"] for one in server.seen] == [b"CONNECT"]


@pytest.mark.parametrize(
    "rubbish", [b"rubbish\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_request_is_refused(rubbish: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        Server().parser.feed_data(rubbish)


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_what_follows_an_offer_is_parsed_as_strictly_as_ever(offer: str) -> None:
    head = b"POST / HTTP/1.1\r\n" + OFFERS[offer] + b"Transfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(httptools.HttpParserError):
        Server().parser.feed_data(head + b"no length\r\n")
    with pytest.raises(httptools.HttpParserError):
        Server().parser.feed_data(head.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"0\r\n\r\n")
