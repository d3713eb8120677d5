"""The dashboard's files and the runbook, read once; no other file is served."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from weightwarden.verifier.server.alerting.runbook import served_page

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
Page = Callable[[Request], Awaitable[Response]]


def pages(index: str = "index.html") -> dict[str, Page]:
    """The endpoint of every path: `/` is the dashboard, `/dashboard/NAME` one of its files, `/runbook` the runbook.

    Args:
        index: the file that is the dashboard: that of one series, or of several models.
    """
    found: dict[str, Page] = {"/runbook": _page(served_page().encode(), _TYPES[".html"])}
    for file in files("weightwarden.verifier.server").joinpath("dashboard").iterdir():
        kind = _TYPES.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None and (kind != _TYPES[".html"] or file.name == index):
            path = "/" if file.name == index else f"/dashboard/{file.name}"
            found[path] = _page(file.read_bytes(), kind)
    return found


def _page(content: bytes, kind: str) -> Page:
    async def page(_: Request) -> Response:
        return Response(content, media_type=kind)

    return page
