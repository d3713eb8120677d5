"""The connections that wait for their client: silent ones, slow ones, and idle ones between two requests."""

import ipaddress
from typing import Protocol

IPV6_PREFIX = 64
"""Bits of an IPv6 address that name one network: its holder chooses the rest."""


class Closable(Protocol):
    """A connection that can be closed at once."""

    def close_now(self) -> None: ...


class WaitingRoom:
    """Connections that wait for their client, by address, the longest waiting first; used within one event loop.

    An address has few places: where it takes more, the one of its own that has waited longest is closed.
    """

    def __init__(self, an_address: int) -> None:
        """Args: an_address: most that wait for one client address."""
        self._most = an_address
        self._waiting: dict[str, dict[Closable, None]] = {}

    def enter(self, address: str, connection: Closable) -> None:
        """Let a connection wait; too many of its address close the one that has waited longest."""
        mates = self._waiting.setdefault(address, {})
        mates.pop(connection, None)
        mates[connection] = None
        if len(mates) > self._most:
            self._close_longest(address)

    def leave(self, address: str, connection: Closable) -> None:
        """A connection waits no longer."""
        mates = self._waiting.get(address)
        if mates is not None:
            mates.pop(connection, None)
            if not mates:
                del self._waiting[address]

    def make_room(self) -> bool:
        """Close the connection that has waited longest at the address that has most; whether there was one."""
        if not self._waiting:
            return False
        self._close_longest(max(self._waiting, key=lambda address: len(self._waiting[address])))
        return True

    def _close_longest(self, address: str) -> None:
        longest = next(iter(self._waiting[address]))
        self.leave(address, longest)
        longest.close_now()


def network_of(host: str | None) -> str:
    """What counts as one client address: an IPv4 address, or an IPv6 network of `IPV6_PREFIX` bits."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
