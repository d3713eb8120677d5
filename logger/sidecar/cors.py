"""Cross-origin requests of web pages (CORS): which origins may read answers. Fetch Standard, 3.2 (CORS protocol)."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Message, Scope, Send

from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.text import printable

ANY = "*"
MAX_AGE_SECONDS = 600
"""Seconds for which a browser may keep what it was told about an origin."""
_EXPOSED = b"x-request-id, retry-after"
_METHODS = b"GET, HEAD, POST"
_HEADERS = b"authorization, content-type, x-api-key, x-request-id, anthropic-version, anthropic-beta"
"""Headers that an origin may send where it does not say which it will."""
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,2048}")
_Headers = list[tuple[bytes, bytes]]


class Cors:
    """Origins of web pages whose scripts may read answers.

    Credentials that a browser adds by itself (cookies) are never asked for: an API key is sent by the script.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        """The origins, each `scheme://host[:port]`, or "*" for all.

        Raises:
            SettingsError: a text has another form.
        """
        self._origins = frozenset(checked_origin(origin).encode() for origin in origins)

    def headers(self, scope: Scope) -> _Headers:
        """The headers of the answer to a request: who may read it, if its origin may, and that this depends on it."""
        if not self._origins:
            return []
        if ANY.encode() in self._origins:
            allowed = b"*"
        else:
            allowed = _header(scope, b"origin")
            if allowed not in self._origins:
                return [(b"vary", b"origin")]
        found = [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _EXPOSED)]
        return found if allowed == b"*" else [*found, (b"vary", b"origin")]

    def preflight_headers(self, scope: Scope) -> _Headers:
        """The further headers by which the answer to OPTIONS tells a browser what an allowed page may send."""
        if not any(name == b"access-control-allow-origin" for name, _ in self.headers(scope)):
            return []
        asked = _header(scope, b"access-control-request-headers")
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked if _HEADER_NAMES.fullmatch(asked) else _HEADERS),
            (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
        ]

    def sending(self, scope: Scope, send: Send) -> Send:
        """ASGI's send with these headers; `send` itself where none are needed, so that a token costs no more.

        The answer to a POST is kept in no cache, so that clients that are no web pages need not be told of others.
        """
        headers = self.headers(scope)
        if not headers or (scope["method"] == "POST" and not _header(scope, b"origin")):
            return send

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        return sent


def checked_origin(origin: str) -> str:
    """An origin as browsers send it: without a path, its host in lower case, without the scheme's own port; or "*".

    Raises:
        SettingsError: the text has another form.
    """
    if origin == ANY:
        return origin
    try:
        parts = urlsplit(origin)
        plain = f"{parts.scheme}://{parts.netloc}"
        known = (
            bool(parts.scheme)
            and bool(parts.hostname)
            and parts.port != {"http": 80, "https": 443}.get(parts.scheme, -1)
        )
    except ValueError:
        known, plain = False, ""
    if not known or origin != plain or origin != origin.lower() or "@" in origin or not origin.isascii():
        raise SettingsError(
            f"--allowed-origins {printable(origin)}: an origin is scheme://host[:port] as browsers send it:"
            " in lower case, without a path or the scheme's own port; or * for all"
        )
    return origin


def _header(scope: Scope, name: bytes) -> bytes:
    """The value of a header, or nothing; the last of several."""
    found: bytes = dict(scope["headers"]).get(name, b"")
    return found
