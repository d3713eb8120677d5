"""The tables of a log. `migrations` makes them; rows are only ever added."""

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)


class _Blob(TypeDecorator[bytes]):
    """Bytes, read as the database has them: SQLite keeps whatever an attacker put in their place (`stored_bytes`)."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """No conversion."""


METADATA = MetaData()

_INDEX = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's row id

LOG = Table(
    "log",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", String, nullable=False),
)
"""One row: whose log this is."""

ENTRY = Table(
    "entry",
    METADATA,
    Column("index", _INDEX, primary_key=True, autoincrement=False),
    Column("leaf_hash", _Blob, nullable=False),
    Column("payload", _Blob, nullable=False),
)
"""The entries: canonical records and their leaf hashes, counted from 0."""

MARK = Table(
    "mark",
    METADATA,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("frontier", _Blob, nullable=False),
)
"""The tree's frontier now and then, so that opening a log does not read it all."""

CHECKPOINT = Table(
    "checkpoint",
    METADATA,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("note", _Blob, nullable=False),
)
"""Every checkpoint that was signed."""

ARCHIVE = Table(
    "archive",
    METADATA,
    Column("end", _INDEX, ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
    Column("start", _INDEX, nullable=False),
    Column("url", String, nullable=False),
)
"""Every range that was sealed into an archive."""

DRAFT = Table(
    "draft",
    METADATA,
    Column("id", _INDEX, primary_key=True, autoincrement=False),
    Column("payload", _Blob, nullable=False),
)
"""Answers on their way: what their record will be, without the tokens. Removed when the record becomes an entry."""

DRAFT_TOKENS = Table(
    "draft_tokens",
    METADATA,
    Column("draft", _INDEX, ForeignKey("draft.id"), primary_key=True, autoincrement=False),
    Column("at", _INDEX, primary_key=True, autoincrement=False),
    Column("tokens", _Blob, nullable=False),
)
"""The tokens of a draft (int32, little-endian), from position `at` on."""

SEED_BLOCK = Table("seed_block", METADATA, Column("end", _INDEX, primary_key=True, autoincrement=False))
"""Seed counters that were handed out, in blocks: everything below `end`."""

START = Table(
    "start",
    METADATA,
    Column("number", _INDEX, primary_key=True, autoincrement=False),
    Column("nonce", _Blob, nullable=False),
)
"""Every start of a logger that issues seeds: its number, from 1 on, and the random bytes that its seeds depend on."""

OPEN_SEED = Table(
    "open_seed",
    METADATA,
    Column("counter", _INDEX, primary_key=True, autoincrement=False),
    Column("start", _INDEX, ForeignKey("start.number"), nullable=False),
    Column("request", _Blob, nullable=False),
    Column("issued_at", _INDEX, nullable=False),
)
"""Seeds that were issued to requests that are not complete. Removed when the request completes."""
