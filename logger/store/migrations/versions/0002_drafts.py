"""Tables of drafts, whose rows are removed again, and of the seed counters that were handed out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

REFUSAL = "the log is append-only"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the triggers that prevent a counter from being handed out twice."""
    op.create_table(
        "draft",
        sa.Column("id", INDEX, primary_key=True, autoincrement=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "draft_tokens",
        sa.Column("draft", INDEX, sa.ForeignKey("draft.id"), primary_key=True, autoincrement=False),
        sa.Column("at", INDEX, primary_key=True, autoincrement=False),
        sa.Column("tokens", sa.LargeBinary, nullable=False),
    )
    op.create_table("seed_block", sa.Column("end", INDEX, primary_key=True, autoincrement=False))
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER seed_block_{verb.lower()} BEFORE {verb} ON seed_block"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        newer = 'NEW."end" <= (SELECT MAX("end") FROM seed_block)'
        op.execute(
            f"CREATE TRIGGER seed_block_insert BEFORE INSERT ON seed_block WHEN {newer}"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}: end out of order'); END"
        )
    else:
        for verb, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER seed_block_{verb.split()[0].lower()} BEFORE {verb} ON seed_block"
                f" FOR EACH {each} EXECUTE FUNCTION weightwarden_append_only()"
            )
