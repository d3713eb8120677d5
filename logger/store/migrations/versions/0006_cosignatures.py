"""Table of the cosignatures of checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

REFUSAL = "the log is append-only"
PRESENT = "COALESCE((SELECT MAX(start) FROM segment), 0)"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and the triggers that let a cosignature be removed only from before the present segment."""
    op.create_table(
        "cosignature",
        sa.Column("size", INDEX, sa.ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
        sa.Column("witness", sa.String, primary_key=True),
        sa.Column("line", sa.String, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb, condition in (("UPDATE", "TRUE"), ("DELETE", f"OLD.size >= {PRESENT}")):
            op.execute(
                f"CREATE TRIGGER cosignature_{verb.lower()} BEFORE {verb} ON cosignature WHEN {condition}"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        # INSERT OR REPLACE removes the old row without firing the triggers above.
        there = "EXISTS (SELECT 1 FROM cosignature WHERE size = NEW.size AND witness = NEW.witness)"
        op.execute(
            f"CREATE TRIGGER cosignature_insert BEFORE INSERT ON cosignature WHEN {there}"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    else:
        refused = f"IF OLD.size >= {PRESENT} THEN RAISE EXCEPTION '{REFUSAL}'; END IF"
        op.execute(
            "CREATE FUNCTION weightwarden_cosignature_removed() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {refused}; RETURN OLD; END $$"
        )
        for verb, each, function in (
            ("UPDATE", "ROW", "append_only"),
            ("DELETE", "ROW", "cosignature_removed"),
            ("TRUNCATE", "STATEMENT", "append_only"),
        ):
            op.execute(
                f"CREATE TRIGGER cosignature_{verb.lower()} BEFORE {verb} ON cosignature"
                f" FOR EACH {each} EXECUTE FUNCTION weightwarden_{function}()"
            )
