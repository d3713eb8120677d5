"""Errors of the account of a link."""

from pathlib import Path

from weightwarden.errors import WeightwardenError


class CaptureError(WeightwardenError, ValueError):
    """A capture file that cannot be read. The message names the file and the fault."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"{path}: {what}")


class LinkError(WeightwardenError, ValueError):
    """An address, port or heartbeat that does not describe a link."""


class EncryptedLink(WeightwardenError, ValueError):
    """A connection on the link that is encrypted: its content cannot be accounted for."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where}: the sidecar's connection is encrypted (TLS), so that nothing on it can be explained: give the"
            " sidecar an http:// upstream on this link, or capture where the connection is in plain text"
        )
