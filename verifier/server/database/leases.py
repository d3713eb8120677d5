"""Signs of life of the servers on a database, and leases of the work that only one server does at a time.

Each server counts its signs of life in its row. Another server holds it for dead only after it has itself seen the same
count for `takeover_seconds`, on its own monotonic clock. So no clock that is set, the database's or a host's, frees the
work of a living server or keeps that of a dead one. The later writes of a server whose work was taken over are refused,
since each transaction that ends a piece of work first checks that the lease is still its own.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select, update

from weightwarden.verifier.server.database.schema import LEASE, SERVER, TASK
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, database_now
from weightwarden.verifier.server.errors import LeaseLost

FORGET_SECONDS = 7 * 86_400.0
"""Seconds without a sign of life after which a dead server is no longer shown."""


@dataclass
class _Sight:
    """A count of signs of life, and the moment at which this process saw it first, by its monotonic clock."""

    beats: int
    since: float


@dataclass(frozen=True, kw_only=True)
class Membership:
    """One server among those on its database.

    Attributes:
        name: name of this server, never used by another process.
        takeover_seconds: seconds without a sign of life after which others take over a server's work.
        channels: names of the channels on which this server announces incidents.
        monotonic: seconds by a clock that nobody can set.
    """

    database: VerdictDatabase
    name: str
    takeover_seconds: float
    channels: tuple[str, ...] = ()
    monotonic: Callable[[], float] = time.monotonic
    _sights: dict[str, _Sight] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def beat(
        self, *, tokens_per_second: float | None = None, compute_share: float | None = None, trouble: str | None = None
    ) -> float:
        """Give a sign of life, with information for the other servers. Return the database's time."""
        with self.database.writing() as connection:
            now = database_now(connection)
            said = {
                "seen": now,
                "channels": json.dumps(self.channels),
                "tokens_per_second": tokens_per_second,
                "compute_share": compute_share,
                "trouble": trouble,
            }
            mine = update(SERVER).where(SERVER.c.name == self.name).values(beats=SERVER.c.beats + 1, **said)
            if not connection.execute(mine).rowcount:
                connection.execute(insert(SERVER).values(name=self.name, beats=1, **said))
            living = self.living(connection)
            forgotten = SERVER.c.name.not_in(living) & (SERVER.c.seen < now - FORGET_SECONDS)
            connection.execute(delete(SERVER).where(forgotten))
        return now

    def leave(self) -> None:
        """Give back all leases of this server."""
        with self.database.writing() as connection:
            mine = update(TASK).where(TASK.c.owner == self.name)
            connection.execute(mine.values(owner=None, attempts=TASK.c.attempts - 1))
            connection.execute(update(LEASE).where(LEASE.c.owner == self.name).values(owner=None))
            connection.execute(delete(SERVER).where(SERVER.c.name == self.name))

    def living(self, connection: Connection) -> list[str]:
        """Names of the servers that are not known to be dead; this one is among them while it has a row."""
        rows = connection.execute(select(SERVER.c.name, SERVER.c.beats).order_by(SERVER.c.name)).all()
        now = self.monotonic()
        with self._lock:
            for name in self._sights.keys() - {row.name for row in rows}:
                del self._sights[name]
            for row in rows:
                sight = self._sights.get(row.name)
                if sight is None or sight.beats != row.beats:
                    self._sights[row.name] = _Sight(row.beats, now)
            return [
                row.name
                for row in rows
                if row.name == self.name or now - self._sights[row.name].since < self.takeover_seconds
            ]

    def all_channels(self, connection: Connection) -> list[str]:
        """The channels of all living servers, and of this one."""
        living = SERVER.c.name.in_(self.living(connection))
        said = connection.execute(select(SERVER.c.channels).where(living)).scalars()
        return sorted({*self.channels, *(str(name) for one in said for name in json.loads(one))})

    def take(self, work: str) -> bool:
        """True if this server now holds the lease of a piece of work."""
        with self.database.writing() as connection:
            owner = self._owner(connection, work)
            if owner == self.name:
                return True
            if owner is not None and owner in self.living(connection):
                return False
            connection.execute(update(LEASE).where(LEASE.c.name == work).values(owner=self.name))
            return True

    def give_back(self, work: str) -> None:
        """Give back the lease of a piece of work."""
        with self.database.writing() as connection:
            connection.execute(update(LEASE).where(LEASE.c.name == work, LEASE.c.owner == self.name).values(owner=None))

    def require(self, connection: Connection, work: str) -> None:
        """Check, within a transaction, that this server holds the lease until the transaction ends.

        Raises:
            LeaseLost: another server holds it.
        """
        if self._owner(connection, work) != self.name:
            raise LeaseLost(f"another server does {work!r}")

    def _owner(self, connection: Connection, work: str) -> str | None:
        owner: str | None = connection.execute(
            select(LEASE.c.owner).where(LEASE.c.name == work).with_for_update()
        ).scalar_one()
        return owner
