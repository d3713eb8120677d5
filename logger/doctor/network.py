"""Checks of addresses and clocks."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.serving.address import Address
from weightwarden.text import printable

CLOCK_WARNING = timedelta(seconds=10)
"""Difference of two clocks from which on it is a warning."""


def free_address(check: str, address: Address, *, option: str) -> Finding:
    """The check that a server can listen on an address.

    Args:
        check: name of the check.
        address: the address.
        option: the option that names it, for the advice.
    """
    try:
        [(family, kind, protocol, _, place), *_] = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(1)
    except OSError as error:
        if _answers(address):
            what = "a program listens there already; it may be this server, running"
            return warning(check, f"{address}: {what}", f"if it is another program, stop it, or correct {option}")
        reason = error.strerror or str(error)
        return fault(check, f"{address}: cannot listen there: {reason}", f"name an address of this host in {option}")
    return ok(check, f"{address}: free")


def _answers(address: Address) -> bool:
    """True if a connection to the address, or to its loopback if every address is meant, is accepted."""
    host = ("::1" if ":" in address.host else "127.0.0.1") if address.is_wildcard else address.host
    try:
        socket.create_connection((host, address.port), timeout=2).close()
    except OSError:
        return False
    return True


def exposure(warnings: Sequence[str]) -> list[Finding]:
    """Findings for the exposure of an address to other machines.

    Args:
        warnings: sentences of `logger.serving.address.exposures`: what is exposed; what to do.
    """
    parts = [text.partition("; ") for text in warnings]
    return [warning("exposure", exposed, advice or "listen on another address") for exposed, _, advice in parts]


def without_secrets(url: str) -> str:
    """A URL for messages, without user, password and query, which may be secret; another text as it is."""
    parts = urlsplit(url)
    if "://" not in url:
        return printable(url)
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())


def clock(check: str, now: datetime, other: datetime, source: str) -> Finding:
    """The check of this machine's clock against another one.

    Args:
        check: name of the check.
        now: this machine's time.
        other: the other clock's time at the same moment.
        source: the other clock, in words.
    """
    ahead = (now - other).total_seconds()
    if abs(ahead) < CLOCK_WARNING.total_seconds():
        return ok(check, f"agrees with {source} within {CLOCK_WARNING.total_seconds():.0f} s")
    found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {source}"
    return warning(check, found, "let both machines follow a time server: timedatectl set-ntp true")


def clock_after(check: str, now: datetime, newest: datetime, event: str) -> Finding:
    """The check that this machine's clock is not behind a moment in the past.

    Args:
        check: name of the check.
        now: this machine's time.
        newest: the moment.
        event: what happened then, in words.
    """
    if newest - now >= CLOCK_WARNING:
        found = f"{(newest - now).total_seconds():.0f} s behind {event}"
        return warning(check, found, "let this machine follow a time server: timedatectl set-ntp true")
    return ok(check, f"not behind {event}, {newest:%Y-%m-%d %H:%M:%S} UTC")


def http_date(text: str | None) -> datetime | None:
    """The time in a Date header, or None if it has another form."""
    try:
        found = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
