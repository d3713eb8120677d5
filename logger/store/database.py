"""The database of a log."""

from pathlib import Path

from logger.database import DatabaseKind
from logger.store.errors import LogUnreadable

LOG_DATABASE = DatabaseKind(name="log", migrations=Path(__file__).parent / "migrations", unusable=LogUnreadable)
