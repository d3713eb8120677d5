"""Paths of the HTTP interface: the one that is meant by a path with a slash too many, and hints for unknown ones."""

import re
from collections.abc import Collection

from weightwarden.logger.sidecar.errors import ApiError

_PREFIX = "/v1"
MODELS = "/v1/models"


def plain_path(path: str) -> str:
    """A path without slashes at its end: `/v1/models/` means `/v1/models`."""
    return path.rstrip("/") or "/"


def nothing_at(path: str, known: Collection[str]) -> ApiError:
    """The error for an unknown path. It names the path to use: `/v1/models` for `/models` or `/v1/v1/models`.

    Args:
        path: the client's path.
        known: the paths that there are.
    """
    asked = plain_path(re.sub("/+", "/", path)).lower()
    ends = sorted(known, key=len, reverse=True)
    meant = next((one for one in ends if asked.endswith(one.removeprefix(_PREFIX))), None)
    if meant is None and "/models/" in asked:
        meant = f"{MODELS}/MODEL"
    hint = f"use {meant}" if meant is not None else f"this server has {', '.join(sorted(known))}"
    return ApiError(404, "not_found_error", f"there is nothing here; {hint}")
