"""The work of a verification server: it follows, audits and watches on separate threads, until told to stop."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from weightwarden.verifier.server.audit.task_queue import backlog, held_by_others
from weightwarden.verifier.server.errors import LeaseLost, ReplayTrouble, Unfinished, VerdictsUnusable
from weightwarden.verifier.server.startup import ServerParts

IDLE_SECONDS = 1.0
"""Seconds between two searches for work, after one without result."""
RETRY_SECONDS = 5.0
"""Seconds to wait after a failure of the database or of the replay, or a defect."""
BEATS = 4
"""Signs of life within the lease timeout, after which other servers take over."""
RETENTION_SECONDS = 60.0
"""Seconds between two searches for verdicts that are older than the retention."""
_WORDS = {
    "audit": "nothing can be replayed",
    "follow": "archives cannot be followed",
    "egress": "the reports of taps cannot be followed",
    "account": "verdicts cannot be accounted for",
    "retain": "old verdicts cannot be removed",
    "watch": "incidents cannot be kept",
    "deliver": "notices cannot be sent",
    "beat": "the database cannot be used",
}
"""Reasons in /ready for each kind of failing work."""


class DatabaseClock:
    """The database's clock, from the last sign of life: the clocks of servers may differ."""

    def __init__(self) -> None:
        self._offset = 0.0

    def __call__(self) -> float:
        return time.time() + self._offset

    def set(self, now: float) -> None:
        """Set the clock to the database's time."""
        self._offset = now - time.time()


@dataclass
class Daemon:
    """The work of one server, each kind on a separate thread.

    Attributes:
        audits: False: another thread audits, by `attempt`.
    """

    server: ServerParts
    stopping: threading.Event
    clock: DatabaseClock
    audits: bool = True
    stuck: bool = False
    _troubles: dict[str, str] = field(default_factory=dict)
    _progress: dict[str, float] = field(default_factory=dict)

    def start(self) -> list[threading.Thread]:
        """Start to work. The threads end after `stopping` is set."""
        self._beat()
        server = self.server
        works: dict[str, Callable[[], float]] = {
            "follow": self._follow,
            "egress": self._follow_egress,
            "audit": lambda: 0.0 if server.auditor.work() else IDLE_SECONDS,
            "account": self._account,
            "retain": lambda: 0.0 if server.retention.remove() else RETENTION_SECONDS,
            "watch": self._watch,
            "deliver": lambda: 0.0 if server.notifier.deliver() else IDLE_SECONDS,
            "beat": self._beat,
        }
        threads = [
            threading.Thread(target=self._repeat, args=(name, work), daemon=True, name=name)
            for name, work in works.items()
            if self.audits or name != "audit"
        ]
        for thread in threads:
            thread.start()
        return threads

    def ready(self) -> str | None:
        """The reason why the work cannot go on now, in fixed words; None if it can."""
        if self.stopping.is_set():
            return "stopping"
        for work, words in _WORDS.items():
            if work in self._troubles:
                return words
        return None if "follow" in self._progress else "starting"

    def _follow(self) -> float:
        found = self.server.follower.look()
        if found.troubles:
            self._set_trouble("folders", "; ".join(found.troubles[:3]))
        elif found.following:
            self._set_trouble("folders", None)
        return self.server.settings.poll_interval

    def _follow_egress(self) -> float:
        troubles = self.server.egress.look()
        if troubles is not None:
            self._set_trouble("egress folders", "; ".join(troubles[:3]) or None)
        return self.server.settings.poll_interval

    def _account(self) -> float:
        return 0.0 if self.server.bookkeeper.account() else IDLE_SECONDS

    def _watch(self) -> float:
        self.server.watch.look()
        return IDLE_SECONDS

    def _beat(self) -> float:
        """Give a sign of life, unless work hangs: then other servers take over, and this process ends."""
        auditor, settings = self.server.auditor, self.server.settings
        seconds = max(auditor.hang_detector.seconds, self.server.follower.hang_detector.seconds)
        if seconds > settings.stuck_after:
            self.server.events.say("stuck", seconds=round(seconds))
            self.stuck = True
            self.stopping.set()
            return RETRY_SECONDS
        now = self.server.membership.beat(
            tokens_per_second=auditor.tokens_per_second,
            compute_share=settings.compute_share,
            trouble="; ".join(words for _, words in sorted(dict(self._troubles).items())) or None,
        )
        self.clock.set(now)
        return settings.lease_timeout / BEATS

    def attempt(self, name: str, work: Callable[[], float]) -> float:
        """Do a piece of work. A failure is reported. Return the seconds to wait before the next attempt."""
        try:
            wait = work()
            self._progress[name] = time.monotonic()
            self._set_trouble(name, None)
        except LeaseLost as error:
            self.server.events.say("lease lost", work=name, why=str(error))
            wait = IDLE_SECONDS
        except (VerdictsUnusable, ReplayTrouble) as error:
            self._set_trouble(name, str(error))
            wait = RETRY_SECONDS
        except Exception as error:  # a defect: reported, and the other work goes on
            self.server.events.defect(error)
            self._set_trouble(name, f"{name}: an internal error: {type(error).__name__}")
            wait = RETRY_SECONDS
        return wait

    def _repeat(self, name: str, work: Callable[[], float]) -> None:
        """Repeat work, also after failures."""
        while not self.stopping.is_set():
            self.stopping.wait(self.attempt(name, work))

    def _set_trouble(self, kind: str, words: str | None) -> None:
        if words is None:
            self._troubles.pop(kind, None)
        elif self._troubles.get(kind) != words:
            self._troubles[kind] = words
            self.server.events.say("trouble", kind=kind, why=words)


def exit_code_of(daemon: Daemon) -> int:
    """2 if work hung, so that the supervisor restarts the process; 0 after a normal stop."""
    return 2 if daemon.stuck else 0


def drain(server: ServerParts, stopping: threading.Event, clock: DatabaseClock) -> None:
    """Follow, audit and account until nothing is left, without serving.

    What another server holds is waited for, until this server has seen for long enough whether that one is alive.

    Raises:
        VerdictsUnusable: the database fails.
        ReplayTrouble: nothing can be replayed.
        Unfinished: something was not audited.
    """
    beating = threading.Event()

    def beats() -> None:
        while not beating.wait(server.settings.lease_timeout / BEATS):
            with suppress(VerdictsUnusable):
                server.membership.beat(compute_share=server.settings.compute_share)

    clock.set(server.membership.beat())
    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + server.settings.lease_timeout + IDLE_SECONDS
        while True:
            looked = server.follower.look()
            unread = server.egress.look() or []
            while not stopping.is_set() and server.auditor.work():
                server.bookkeeper.account()
            server.bookkeeper.account()
            with server.database.reading() as connection:
                held = not looked.following or held_by_others(connection, server.membership.name)
            if not held or time.monotonic() > deadline or stopping.wait(server.settings.lease_timeout / BEATS):
                break
        server.watch.look()
        while not stopping.is_set() and server.retention.remove():
            pass
        while server.notifier.deliver():
            pass
        with server.database.reading() as connection:
            left = backlog(connection).records
    finally:
        beating.set()
        thread.join()
        server.membership.leave()
    if troubles := [*looked.troubles, *unread]:
        raise Unfinished("; ".join(troubles))
    if not looked.following:
        raise Unfinished("another server follows the archives at this moment")
    if left:
        raise Unfinished(f"{left} records have no verdict yet: another server works on them, or they are tried later")
