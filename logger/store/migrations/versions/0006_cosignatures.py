"""Table of the cosignatures of checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

REFUSAL = "the log is append-only"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and the triggers that prevent changes of a cosignature."""
    op.create_table(
        "cosignature",
        sa.Column("size", INDEX, sa.ForeignKey("checkpoint.size"), primary_key=True, autoincrement=False),
        sa.Column("witness", sa.String, primary_key=True),
        sa.Column("line", sa.String, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER cosignature_{verb.lower()} BEFORE {verb} ON cosignature"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        # INSERT OR REPLACE removes the old row without firing the triggers above.
        there = "EXISTS (SELECT 1 FROM cosignature WHERE size = NEW.size AND witness = NEW.witness)"
        op.execute(
            f"CREATE TRIGGER cosignature_insert BEFORE INSERT ON cosignature WHEN {there}"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    else:
        for verb, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER cosignature_{verb.split()[0].lower()} BEFORE {verb} ON cosignature"
                f" FOR EACH {each} EXECUTE FUNCTION weightwarden_append_only()"
            )
