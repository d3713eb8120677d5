"""Table of segments, and triggers that let rows from before the present segment be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

REFUSAL = "the log is append-only"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEYS = {"entry": "index", "mark": "size", "checkpoint": "size"}
"""Tables whose rows from before the present segment may be removed, and the column that places a row in the log."""
PRESENT = "COALESCE((SELECT MAX(start) FROM segment), 0)"


def upgrade() -> None:
    """Make the table, and replace the triggers that refuse to remove rows."""
    op.create_table(
        "segment",
        sa.Column("start", INDEX, sa.ForeignKey("archive.end"), primary_key=True, autoincrement=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgresql_triggers()


def _sqlite_triggers() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER segment_{verb.lower()} BEFORE {verb} ON segment"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    op.execute(
        "CREATE TRIGGER segment_insert BEFORE INSERT ON segment"  # noqa: S608
        " WHEN NEW.start <= (SELECT MAX(start) FROM segment)"
        f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}: start out of order'); END"
    )
    for table, key in KEYS.items():
        op.execute(f"DROP TRIGGER {table}_delete")
        op.execute(
            f'CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} WHEN OLD."{key}" >= {PRESENT}'
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    op.execute("DROP TRIGGER entry_insert")
    op.execute(
        "CREATE TRIGGER entry_insert BEFORE INSERT ON entry"  # noqa: S608
        f' WHEN NEW."index" IS NOT COALESCE((SELECT MAX("index") + 1 FROM entry), {PRESENT})'
        f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}: index out of order'); END"
    )


def _postgresql_triggers() -> None:
    op.execute(
        "CREATE TRIGGER segment_change BEFORE UPDATE OR DELETE ON segment"
        " FOR EACH ROW EXECUTE FUNCTION weightwarden_append_only()"
    )
    op.execute(
        "CREATE TRIGGER segment_truncate BEFORE TRUNCATE ON segment"
        " FOR EACH STATEMENT EXECUTE FUNCTION weightwarden_append_only()"
    )
    for table, key in KEYS.items():
        refused = f"IF OLD.\"{key}\" >= {PRESENT} THEN RAISE EXCEPTION '{REFUSAL}'; END IF"
        op.execute(
            f"CREATE FUNCTION weightwarden_{table}_removed() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {refused}; RETURN OLD; END $$"
        )
        op.execute(f"DROP TRIGGER {table}_change ON {table}")
        op.execute(
            f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION weightwarden_append_only()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION weightwarden_{table}_removed()"
        )
