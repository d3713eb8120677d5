"""Signs of life of the servers on a database, and leases of the work that only one server does at a time.

A server without a sign of life for `takeover_seconds` has lost all its leases. Its later writes are refused, since each
transaction that ends a piece of work first checks that the lease is still its own.
"""

import json
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select, update

from weightwarden.verifier.server.database.schema import LEASE, SERVER, TASK
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase, database_now
from weightwarden.verifier.server.errors import LeaseLost

FORGET_SECONDS = 7 * 86_400.0
"""Seconds without a sign of life after which a server is no longer shown."""


@dataclass(frozen=True, kw_only=True)
class Membership:
    """One server among those on its database.

    Attributes:
        name: name of this server, never used by another process.
        takeover_seconds: validity of a sign of life.
        channels: names of the channels on which this server announces incidents.
    """

    database: VerdictDatabase
    name: str
    takeover_seconds: float
    channels: tuple[str, ...] = ()

    def beat(
        self, *, tokens_per_second: float | None = None, compute_share: float | None = None, trouble: str | None = None
    ) -> float:
        """Give a sign of life, with information for the other servers. Return the database's time."""
        with self.database.writing() as connection:
            now = database_now(connection)
            said = {
                "seen": now,
                "expires": now + self.takeover_seconds,
                "channels": json.dumps(self.channels),
                "tokens_per_second": tokens_per_second,
                "compute_share": compute_share,
                "trouble": trouble,
            }
            if not connection.execute(update(SERVER).where(SERVER.c.name == self.name).values(**said)).rowcount:
                connection.execute(insert(SERVER).values(name=self.name, **said))
            connection.execute(delete(SERVER).where(SERVER.c.seen < now - FORGET_SECONDS))
        return now

    def leave(self) -> None:
        """Give back all leases of this server."""
        with self.database.writing() as connection:
            mine = update(TASK).where(TASK.c.owner == self.name)
            connection.execute(mine.values(owner=None, attempts=TASK.c.attempts - 1))
            connection.execute(update(LEASE).where(LEASE.c.owner == self.name).values(owner=None))
            connection.execute(delete(SERVER).where(SERVER.c.name == self.name))

    def alive(self, connection: Connection) -> Select[str]:
        """Names of the servers that are alive."""
        return select(SERVER.c.name).where(is_alive(connection))

    def all_channels(self, connection: Connection) -> list[str]:
        """The channels of all living servers, and of this one."""
        said = connection.execute(select(SERVER.c.channels).where(is_alive(connection))).scalars()
        return sorted({*self.channels, *(str(name) for one in said for name in json.loads(one))})

    def take(self, work: str) -> bool:
        """True if this server now holds the lease of a piece of work."""
        with self.database.writing() as connection:
            owner = self._owner(connection, work)
            if owner == self.name:
                return True
            if owner is not None and owner in set(connection.execute(self.alive(connection)).scalars()):
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


def is_alive(connection: Connection) -> ColumnElement[bool]:
    """True if a server's last sign of life is still valid."""
    return SERVER.c.expires > database_now(connection)
