"""The link between inference servers and sidecars, as its operator declares it."""

from dataclasses import dataclass
from ipaddress import ip_address

from weightwarden.verifier.egress.errors import LinkError

HEARTBEAT = b"weightwarden heartbeat\n"
"""The whole content of a heartbeat."""


@dataclass(frozen=True)
class Endpoint:
    """A numeric address and a port.

    Attributes:
        address: 4 bytes (IPv4) or 16 (IPv6).
        port: port number.
    """

    address: bytes
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """The endpoint in the form ADDRESS:PORT or [ADDRESS]:PORT.

        Raises:
            LinkError: the text has another form.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise LinkError(f"{text!r} is not ADDRESS:PORT")
        return cls(packed_address(host.removeprefix("[").removesuffix("]")), int(port))

    def __str__(self) -> str:
        return endpoint_text(self.address, self.port)


@dataclass(frozen=True)
class Heartbeat:
    """Heartbeats: datagrams from a sidecar that show that the tap is not blind.

    Attributes:
        target: address and port to which they are sent.
        seconds: interval between two of them.
    """

    target: Endpoint
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Heartbeat":
        """Heartbeats in the form ADDRESS:PORT/SECONDS.

        Raises:
            LinkError: the text has another form.
        """
        target, slash, seconds = text.rpartition("/")
        try:
            interval = float(seconds)
        except ValueError:
            interval = 0.0
        if not slash or not 0.01 <= interval <= 86_400:
            raise LinkError(f"{text!r} is not ADDRESS:PORT/SECONDS")
        return cls(Endpoint.parse(target), interval)


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link.

    Attributes:
        sidecars: addresses of the sidecar's host on the link.
        servers: addresses and ports of the inference servers.
        others: further addresses of the servers' hosts, such as link-local ones.
        heartbeat: the declared heartbeats, or None.
        checks_checksums: False where the capturing host's network card fills the checksums in after the capture.
    """

    sidecars: frozenset[bytes]
    servers: frozenset[Endpoint]
    others: frozenset[bytes] = frozenset()
    heartbeat: Heartbeat | None = None
    checks_checksums: bool = True

    def __post_init__(self) -> None:
        if not self.sidecars or not self.servers:
            raise LinkError("a link needs an address of the sidecar and one of an inference server")
        both = self.sidecars & self.server_hosts
        if both and self.checks_checksums:
            raise LinkError(f"{address_text(min(both))} is the sidecar's and an inference server's")

    @property
    def server_hosts(self) -> frozenset[bytes]:
        """All addresses of the servers' hosts."""
        return frozenset(server.address for server in self.servers) | self.others

    @property
    def hosts(self) -> frozenset[bytes]:
        """All addresses of the link."""
        return self.sidecars | self.server_hosts


def packed_address(text: str) -> bytes:
    """The bytes of a numeric address.

    Raises:
        LinkError: the text is no numeric address.
    """
    try:
        return ip_address(text).packed
    except ValueError:
        raise LinkError(f"{text!r} is not a numeric IPv4 or IPv6 address") from None


def address_text(address: bytes) -> str:
    """An address in its usual form."""
    return str(ip_address(address))


def endpoint_text(address: bytes, port: int) -> str:
    """An address and a port in their usual form."""
    text = address_text(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
