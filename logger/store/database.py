"""The database of a log."""

from pathlib import Path

from weightwarden.logger.database import DatabaseKind
from weightwarden.logger.store.errors import LogUnreadable

LOG_DATABASE = DatabaseKind(
    name="log",
    migrations=Path(__file__).parent / "migrations",
    table="entry",
    unusable=LogUnreadable,
    synced=True,
    upgraded_by="sidecar run",
)
