"""A parser of HTTP/1.1 requests that declines every offer of another protocol, and keeps the request's body."""

from typing import Any, Protocol

import httptools

_OF_OFFERS = (b"upgrade", b"http2-settings")


class RequestHead(Protocol):
    """The part of a request that a server has collected: its target, and its headers with names in lower case."""

    url: bytes
    headers: list[tuple[bytes, bytes]]


class DecliningParser:
    """A parser with httptools' interface that parses a request with an offer as if it had none (RFC 9110, 7.8).

    Java's HTTP client offers HTTP/2 (`Upgrade: h2c`) with its first request, WebSocket clients their protocol.
    httptools ends such a request after its headers. This parser then parses it anew: its headers without the offer,
    and all bytes that follow. Its callbacks see `on_message_begin` to `on_header` twice, the other ones once.
    """

    def __init__(self, protocol: Any) -> None:
        """A parser that calls the methods of a protocol, which is a `RequestHead` too."""
        self._protocol = protocol
        for name in ("on_message_begin", "on_url", "on_header", "on_body"):
            setattr(self, name, getattr(protocol, name))
        self._begin()

    def _begin(self) -> None:
        self._offered = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: bytes) -> None:
        """Parse some bytes.

        Raises:
            HttpParserError: the bytes are not HTTP.
            HttpParserUpgrade: after a CONNECT.
        """
        left = memoryview(data)
        while left:
            try:
                self._parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as offer:
                if not self._offered:
                    raise
                head, left = self._head_without_offer(), left[offer.args[0] :]
                self._begin()
                self._parser.feed_data(head)

    def on_headers_complete(self) -> None:
        """Withhold the end of headers with an offer."""
        self._offered = self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"
        if not self._offered:
            self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        """Withhold the end of a request with an offer: its body has not been parsed."""
        if not self._offered:
            self._protocol.on_message_complete()

    def should_upgrade(self) -> bool:
        """False: no offer is taken."""
        return False

    def should_keep_alive(self) -> bool:
        keeps: bool = self._parser.should_keep_alive()
        return keeps

    def get_http_version(self) -> str:
        version: str = self._parser.get_http_version()
        return version

    def get_method(self) -> bytes:
        method: bytes = self._parser.get_method()
        return method

    def _head_without_offer(self) -> bytes:
        """The head of the request under way without the headers of the offer, and without `upgrade` in Connection."""
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, self.get_http_version().encode())]
        for name, value in self._protocol.headers:
            if name == b"connection":
                value = _without_offer(value)
            if name not in _OF_OFFERS and (value or name != b"connection"):
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join([*lines, b"", b""])


def _without_offer(connection: bytes) -> bytes:
    """The options of a Connection header that remain without an offer: `close` and `keep-alive`."""
    options = [option.strip() for option in connection.split(b",")]
    return b", ".join(option for option in options if option.lower() not in _OF_OFFERS)
