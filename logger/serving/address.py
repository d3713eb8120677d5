"""Addresses that a server listens on."""

from dataclasses import dataclass
from ipaddress import ip_address

from weightwarden.errors import WeightwardenError


class AddressError(WeightwardenError, ValueError):
    """A text that is not HOST:PORT."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine reaches the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        """True if every address of this machine is meant."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False

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


def exposures(listen: Address, *, keys: bool, tls: bool) -> list[str]:
    """Warnings for the operator of a server about its exposure to other machines.

    Args:
        listen: the address.
        keys: True: clients need an API key.
        tls: True: the server uses TLS.
    """
    found: list[str] = []
    if listen.is_loopback:
        return found
    if not keys:
        found.append(f"--listen {listen}: every client that reaches it is served; give --api-keys")
    if not tls:
        found.append(
            f"--listen {listen}: without TLS, others on the network can read everything, keys included; give"
            " --tls-certificate and --tls-key, or put a TLS proxy in front and listen on a loopback address"
        )
    return found
