"""Addresses that a server listens on."""

from dataclasses import dataclass

from weightwarden.errors import WeightwardenError


class AddressError(WeightwardenError, ValueError):
    """A text that is not HOST:PORT."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host and port to listen on."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address in the form HOST:PORT or [HOST]:PORT.

        Raises:
            AddressError: the text has another form.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise AddressError(f"{text!r} is not HOST:PORT")
        return cls(host=host, port=int(port))
