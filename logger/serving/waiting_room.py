"""Waiting room for connections that wait for their client: silent, slow, or idle between two requests."""

import ipaddress
from typing import Protocol

IPV6_PREFIX = 64
"""Bits of an IPv6 address that identify a network. Its holder chooses the other bits."""


class Closable(Protocol):
    """A connection that can be closed at once."""

    def close_now(self) -> None: ...


class WaitingRoom:
    """Connections that wait for their client, by address, longest wait first. Used within one event loop.

    Each address has a few places. When an address exceeds them, its longest-waiting connection is closed.
    """

    def __init__(self, an_address: int) -> None:
        """An empty room.

        Args:
            an_address: largest number of waiting connections of one client address.
        """
        self._most = an_address
        self._waiting: dict[str, dict[Closable, None]] = {}

    def enter(self, address: str, connection: Closable) -> None:
        """Add a connection. If its address has too many, the longest-waiting one is closed."""
        mates = self._waiting.setdefault(address, {})
        mates.pop(connection, None)
        mates[connection] = None
        if len(mates) > self._most:
            self._close_longest(address)

    def leave(self, address: str, connection: Closable) -> None:
        """Remove a connection."""
        mates = self._waiting.get(address)
        if mates is not None:
            mates.pop(connection, None)
            if not mates:
                del self._waiting[address]

    def make_room(self) -> bool:
        """True if a connection was closed: the longest-waiting one of the address with the most."""
        if not self._waiting:
            return False
        self._close_longest(max(self._waiting, key=lambda address: len(self._waiting[address])))
        return True

    def _close_longest(self, address: str) -> None:
        longest = next(iter(self._waiting[address]))
        self.leave(address, longest)
        longest.close_now()


def network_of(host: str | None) -> str:
    """The client address that limits count by: an IPv4 address, or an IPv6 network of `IPV6_PREFIX` bits."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
