"""Delivery of notices: to a webhook, signed by the rules of Standard Webhooks, and to a command's standard input."""

import base64
import hashlib
import hmac
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httpx2

from weightwarden.logger.serving.event_log import Events
from weightwarden.text import printable
from weightwarden.verifier.server.alerting.delivery_queue import Notice, delivered, next_notice, refused
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

TIMEOUT_SECONDS = 10.0
COMMAND_SECONDS = 30.0


class Refused(Exception):
    """A notice was refused; the message gives the reason briefly, without any secret."""


class Channel(Protocol):
    """Receiver of notices, each at least once. `name` is stored with waiting notices."""

    name: str

    def send(self, notice: Notice, now: float) -> None: ...


@dataclass(frozen=True)
class Webhook:
    """An HTTP endpoint.

    Each request bears `webhook-id`, `webhook-timestamp` and `webhook-signature`, "v1," and the base64 of HMAC-SHA256
    over "id.timestamp.body" (standardwebhooks.com), so that the receiver can detect forged, old and repeated ones.
    """

    url: str
    secret: bytes = field(repr=False)
    name = "webhook"

    def send(self, notice: Notice, now: float) -> None:
        """Send a notice.

        Raises:
            Refused: there is no answer, or its status is not one of success.
        """
        stamp, number = str(int(now)), f"weightwarden-{notice.id}"
        signed = f"{number}.{stamp}.{notice.body}".encode()
        signature = base64.b64encode(hmac.digest(self.secret, signed, hashlib.sha256)).decode()
        headers = {
            "content-type": "application/json",
            "webhook-id": number,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
        }
        try:
            answer = httpx2.post(
                self.url, content=notice.body.encode(), headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Refused(type(error).__name__) from None
        if not answer.is_success:
            raise Refused(f"HTTP {answer.status_code}")


@dataclass(frozen=True)
class Command:
    """A program of the operator's, run once a notice; exit code 0 accepts it."""

    arguments: tuple[str, ...]
    name = "command"

    def send(self, notice: Notice, now: float) -> None:
        """Run the program, with the notice on its standard input.

        Raises:
            Refused: the program cannot be run, takes too long, or fails.
        """
        try:
            done = subprocess.run(  # noqa: S603  (the operator's own command, without a shell)
                self.arguments,
                input=notice.body.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(f"not done in {COMMAND_SECONDS:g} s") from None
        except OSError as error:
            raise Refused(printable(error.strerror or "cannot be run")) from None
        if done.returncode:
            raise Refused(f"exit code {done.returncode}")


@dataclass(frozen=True, kw_only=True)
class Notifier:
    """Notifier of all channels; only one server delivers at a time."""

    database: VerdictDatabase
    membership: Membership
    channels: Sequence[Channel]
    clock: Callable[[], float]
    events: Events

    def deliver(self) -> bool:
        """Send each channel's notice that has been due for longest. Return whether there was one, accepted or not."""
        if not any(self._next(channel) for channel in self.channels) or not self.membership.take("deliver"):
            return False
        try:
            sent = [self._send(channel) for channel in self.channels]
            return any(sent)
        finally:
            self.membership.give_back("deliver")

    def _send(self, channel: Channel) -> bool:
        notice = self._next(channel)  # another server may have sent it meanwhile
        if notice is None:
            return False
        why: str | None = None
        try:
            channel.send(notice, self.clock())
        except Refused as error:
            why = str(error)
        except Exception as error:  # any failure of a receiver: the notice waits, and the other channels go on
            self.events.defect(error)
            why = type(error).__name__
        with self.database.writing() as connection:
            if why is None:
                delivered(connection, notice, self.clock())
            else:
                refused(connection, notice, why, self.clock())
        if why is not None:
            self.events.say("notice refused", channel=channel.name, attempts=notice.attempts + 1, why=why)
        return True

    def _next(self, channel: Channel) -> Notice | None:
        with self.database.reading() as connection:
            return next_notice(connection, channel.name, self.clock())
