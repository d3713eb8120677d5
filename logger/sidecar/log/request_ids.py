"""Request ids: the client's, or the sidecar's own: HMAC of a counter, under a key derived from the seed key."""

import hmac
from collections.abc import Iterable
from itertools import count
from typing import Literal

from weightwarden.logger.request_stamp import is_request_id

HEADER = b"x-request-id"
ClientsId = Literal["used", "replaced", "none"]
_ID_BYTES = 16
_DOMAIN = b"weightwarden request id v1\n"


class RequestIds:
    """Issuer of the request ids of one start. No id depends on the server, and none is random.

    A client's own id is used if it is well-formed (`is_request_id`). It need not be unique: several records may have
    it.
    """

    def __init__(self, seed_key: bytes, origin: str, nonce: bytes) -> None:
        """An issuer.

        Args:
            seed_key: the seed key.
            origin: the log's name.
            nonce: random bytes of this start, so that no other start issues the same ids.
        """
        self._key = hmac.digest(seed_key, _DOMAIN + origin.encode() + b"\n" + nonce, "sha256")
        self._counters = count()

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, ClientsId]:
        """The id of a request with these headers (names in lower case), and what became of the client's.

        A malformed id, or several, is replaced: it must not fail a request.
        """
        given = [value.decode("latin-1") for name, value in headers if name == HEADER]
        if len(given) == 1 and is_request_id(given[0]):
            return given[0], "used"
        return self._own(), "replaced" if given else "none"

    def _own(self) -> str:
        """The sidecar's next id: 32 hex digits."""
        return hmac.digest(self._key, next(self._counters).to_bytes(8, "big"), "sha256")[:_ID_BYTES].hex()

    def __repr__(self) -> str:
        return "<RequestIds>"
