"""Salts of the server's prefix cache, one a tenant, so that no tenant's answers come sooner by another's prompts."""

import hmac
from collections.abc import Iterable

from weightwarden.logger.serving.api_keys import ApiKeys

_DOMAIN = b"weightwarden cache salt v1\n"


class CacheSalts:
    """Issuer of the salts. A tenant is an API key of a client.

    The engine shares the cached beginnings of prompts among requests of one salt. A salt is an HMAC under a key that
    is derived from the seed key: the server cannot compute it, and learns only which requests have one API key. It is
    the same after a restart.
    """

    def __init__(self, seed_key: bytes, origin: str, keys: ApiKeys | None) -> None:
        """An issuer.

        Args:
            seed_key: the seed key.
            origin: the log's name.
            keys: API keys of clients; None where requests have no salt, since there are no tenants or by the operator's
                choice.
        """
        self._key = hmac.digest(seed_key, _DOMAIN + origin.encode(), "sha256")
        self._keys = keys

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The salt for a request with these headers (names in lower case): 64 hex digits; None without a tenant."""
        tenant = None if self._keys is None else self._keys.admitted(headers)
        return None if tenant is None else hmac.digest(self._key, tenant, "sha256").hex()

    def __repr__(self) -> str:
        return "<CacheSalts>"
