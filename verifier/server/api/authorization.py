"""Authorization by API key, as a bearer token or the password of HTTP Basic, for all paths except /health."""

import base64

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from weightwarden.logger.serving.api_keys import ApiKeys

OPEN_PATHS = ("/health",)
_OPERATOR = "weightwarden.operator"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Authorized:
    """An application for holders of a key. Browsers ask for the key, and send it with every request.

    Another site's page must not make an operator's browser change anything. So requests that the browser marks as
    cross-site are refused.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, readers: ApiKeys | None) -> None:
        """The application behind the authorization.

        Args:
            readers: keys that may read, and change nothing.
        """
        self._app, self._keys, self._readers = app, keys, readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused: JSONResponse | None = None
        key = _key(headers.get("authorization", ""))
        operator = self._keys.holds(key)
        reader = self._readers is not None and self._readers.holds(key)
        if scope["path"] not in OPEN_PATHS and not operator and not reader:
            refused = JSONResponse(
                {"detail": "no valid API key was given (Authorization: Bearer ..., or the password of HTTP Basic)"},
                401,
                {"www-authenticate": 'Basic realm="weightwarden", charset="UTF-8"', "connection": "close"},
            )
        elif scope["method"] not in _SAFE_METHODS and headers.get("sec-fetch-site", "none") not in (
            "same-origin",
            "none",
        ):
            refused = JSONResponse({"detail": "a request of another site's page"}, 403)
        elif scope["method"] not in _SAFE_METHODS and scope["path"] not in OPEN_PATHS and not operator:
            refused = JSONResponse({"detail": "this key may look, and change nothing"}, 403)

        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                kept = list(message.get("headers", []))  # type: ignore[call-overload]
                message["headers"] = [*kept, *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
            await send(message)

        scope[_OPERATOR] = operator
        await (refused or self._app)(scope, receive, send_with_headers)  # type: ignore[arg-type]


def is_operator(scope: Scope) -> bool:
    """True if a request came with a key that may change something."""
    return bool(scope.get(_OPERATOR))


def _key(authorization: str) -> str:
    """The key in an Authorization header; empty, which no key is, without one."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""
