"""API keys, compared in constant time."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from weightwarden.logger.files.private import KeyFileError, read_private

MIN_KEY_CHARACTERS = 16


class ApiKeys:
    """API keys of clients. Only their digests are in memory."""

    def __init__(self, *keys: str) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> "ApiKeys":
        """The keys in a file, one a line. Empty lines and lines that begin with # are skipped.

        Raises:
            KeyFileError: the file is unreadable, readable by others, has no key, or one that is too short.
        """
        try:
            lines = [line.strip() for line in read_private(path).decode("ascii").splitlines()]
        except UnicodeDecodeError:
            raise KeyFileError(f"{path}: an API key has ASCII characters only") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise KeyFileError(f"{path}: holds no API key")
        if min(map(len, keys)) < MIN_KEY_CHARACTERS:
            raise KeyFileError(f"{path}: an API key has at least {MIN_KEY_CHARACTERS} characters")
        return cls(*keys)

    def admits(self, authorization: bytes | None, api_key: bytes | None = None) -> bool:
        """True if one of the keys is given. The time taken does not depend on the headers' values.

        Args:
            authorization: the Authorization header, `Bearer KEY`.
            api_key: the x-api-key header, as Anthropic's clients send it.
        """
        return self._digest_given(authorization, api_key) is not None

    def admitted(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The SHA-256 digest of the key in a request's headers (names in lower case), or None if none is admitted."""
        named = dict(headers)
        return self._digest_given(named.get(b"authorization"), named.get(b"x-api-key"))

    def _digest_given(self, authorization: bytes | None, api_key: bytes | None) -> bytes | None:
        """The digest of the key that is given; of two, that of the Authorization header."""
        scheme, _, key = (authorization or b"").partition(b" ")
        bearer, plain = _text(key), _text(api_key or b"")
        found = [self.holds(bearer) and scheme.lower() == b"bearer", self.holds(plain)]
        return _digest(bearer) if found[0] else _digest(plain) if found[1] else None

    def holds(self, key: str) -> bool:
        """True if the text is one of the keys. The time taken does not depend on the text."""
        digest = _digest(key)
        found = [hmac.compare_digest(digest, one) for one in self._digests]
        return any(found)


def _text(value: bytes) -> str:
    return value.strip().decode("latin-1")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
