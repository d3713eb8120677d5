"""Address of one of the servers of a model, as the operator gives it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from weightwarden.logger.sidecar.errors import SettingsError

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._:-]{0,63})=(.+)")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ReplicaUrl:
    """URL of a server, and the name by which records, metrics and events call it.

    Attributes:
        name: the operator's name for the server; by default its host and port.
        url: its URL.
    """

    name: str
    url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address in a text: `URL` or `NAME=URL`.

        Raises:
            SettingsError: the text is no URL.
        """
        named = _NAMED.fullmatch(text)
        url = text if named is None else named[2]
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise SettingsError("an upstream server's URL is http://... or https://..., after NAME= or alone") from None
        return (
            cls(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", url) if named is None else cls(named[1], url)
        )


def replica_urls(texts: Iterable[str]) -> tuple[ReplicaUrl, ...]:
    """The addresses in several texts, in their order.

    Raises:
        SettingsError: a text is no URL, two have one name or one URL, or there is none.
    """
    found = tuple(map(ReplicaUrl.parse, texts))
    if not found:
        raise SettingsError("an upstream server is needed")
    for what, given in (("name", [one.name for one in found]), ("URL", [one.url.rstrip("/") for one in found])):
        if len(set(given)) < len(given):
            raise SettingsError(f"two upstream servers have one {what}; give each another: NAME=URL")
    return found
