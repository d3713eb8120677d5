"""The tables of a log, which `migrations` makes.

Rows are only added, with these exceptions. Rows of drafts and open seeds are removed when they end, and the record of a
draft may be replaced. Rows of requests may be removed at any time. Rows from before the present segment are removed
once their archives were checked (`SEGMENT`).
"""

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
    """Bytes in the database's own type. SQLite keeps any value that an attacker wrote there (`stored_bytes`)."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """No conversion."""


METADATA = MetaData()

_INDEX = BigInteger().with_variant(Integer(), "sqlite")  # the row id in SQLite

LOG = Table(
    "log",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", String, nullable=False),
)
"""The log's name, in one row."""

ENTRY = Table(
    "entry",
    METADATA,
    Column("index", _INDEX, primary_key=True, autoincrement=False),
    Column("leaf_hash", _Blob, nullable=False),
    Column("payload", _Blob, nullable=False),
)
"""The records: canonical bytes and leaf hashes, with indices from 0."""

REQUEST = Table(
    "request",
    METADATA,
    Column("index", _INDEX, primary_key=True, autoincrement=False),
    Column("time", _INDEX, nullable=False),
    Column("request_id", String, nullable=False),
)
"""The records' stamps, by index: request id, and Unix time (milliseconds) of the answer's end. Rows may be removed."""

MARK = Table(
    "mark",
    METADATA,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("frontier", _Blob, nullable=False),
)
"""The tree's frontier at some sizes, so that opening a log does not read all records."""

CHECKPOINT = Table(
    "checkpoint",
    METADATA,
    Column("size", _INDEX, primary_key=True, autoincrement=False),
    Column("note", _Blob, nullable=False),
)
"""Every signed checkpoint."""

COSIGNATURE = Table(
    "cosignature",
    METADATA,
    Column("size", _INDEX, ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
    Column("witness", String, primary_key=True),
    Column("line", String, nullable=False),
)
"""Cosignatures of checkpoints: the witness's key, and its signature line."""

ARCHIVE = Table(
    "archive",
    METADATA,
    Column("end", _INDEX, ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
    Column("start", _INDEX, nullable=False),
    Column("url", String, nullable=False),
)
"""Every range that was sealed in an archive."""

SEGMENT = Table(
    "segment",
    METADATA,
    Column("start", _INDEX, ForeignKey("archive.end"), primary_key=True, autoincrement=False),
    Column("frontier", _Blob, nullable=False),
)
"""Every segment after the first: its first record, and the tree's frontier there. The newest one is the present
segment: records, frontiers and checkpoints from before it may be removed. Its start is the end of an archive, so the
checkpoint of that size certifies the frontier.
"""

DRAFT = Table(
    "draft",
    METADATA,
    Column("id", _INDEX, primary_key=True, autoincrement=False),
    Column("payload", _Blob, nullable=False),
    Column("request_id", String),
    Column("begun", _INDEX),
)
"""Drafts: the record without tokens or with its first ones, and its stamp if it has one (`begun`: Unix time,
milliseconds). A row is removed when its draft becomes a record.
"""

DRAFT_TOKENS = Table(
    "draft_tokens",
    METADATA,
    Column("draft", _INDEX, ForeignKey("draft.id"), primary_key=True, autoincrement=False),
    Column("at", _INDEX, primary_key=True, autoincrement=False),
    Column("tokens", _Blob, nullable=False),
)
"""The tokens of a draft (int32, little-endian), from position `at` on."""

SEED_BLOCK = Table("seed_block", METADATA, Column("end", _INDEX, primary_key=True, autoincrement=False))
"""Blocks of seed counters that were handed out: all below `end`."""

START = Table(
    "start",
    METADATA,
    Column("number", _INDEX, primary_key=True, autoincrement=False),
    Column("nonce", _Blob, nullable=False),
)
"""Every start of a logger that issues seeds: its number, from 1 on, and the random bytes on which its seeds depend."""

OPEN_SEED = Table(
    "open_seed",
    METADATA,
    Column("counter", _INDEX, primary_key=True, autoincrement=False),
    Column("start", _INDEX, ForeignKey("start.number"), nullable=False),
    Column("request", _Blob, nullable=False),
    Column("issued_at", _INDEX, nullable=False),
)
"""Seeds of requests that are not complete. A row is removed when its request completes."""
