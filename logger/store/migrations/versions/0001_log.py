"""The log's tables, with triggers that refuse to change or remove rows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = ("log", "entry", "mark", "checkpoint", "archive")
REFUSAL = "the log is append-only"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and their triggers."""
    op.create_table(
        "log",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("origin", sa.String, nullable=False),
    )
    op.create_table(
        "entry",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "mark",
        sa.Column("size", INDEX, primary_key=True, autoincrement=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", INDEX, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "archive",
        sa.Column("end", INDEX, sa.ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
        sa.Column("start", INDEX, nullable=False),
        sa.Column("url", sa.String, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgresql_triggers()


def _sqlite_triggers() -> None:
    for table in TABLES:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
    # INSERT OR REPLACE removes the old row without firing the triggers above: only the next key may be inserted.
    for table, key, condition in (
        ("log", "id", "EXISTS (SELECT 1 FROM log)"),
        ("entry", "index", 'NEW."index" IS NOT (SELECT COALESCE(MAX("index"), -1) + 1 FROM entry)'),
        ("mark", "size", "NEW.size <= (SELECT MAX(size) FROM mark)"),
        ("checkpoint", "size", "NEW.size <= (SELECT MAX(size) FROM checkpoint)"),
        ("archive", "end", 'NEW."end" <= (SELECT MAX("end") FROM archive)'),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} WHEN {condition}"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}: {key} out of order'); END"
        )


def _postgresql_triggers() -> None:
    op.execute(
        "CREATE FUNCTION weightwarden_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_change BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION weightwarden_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION weightwarden_append_only()"
        )
