"""Tables of the logger's starts, and of open seeds, whose requests are not complete."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

REFUSAL = "the log is append-only"
INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the triggers that prevent changes of a start."""
    op.create_table(
        "start",
        sa.Column("number", INDEX, primary_key=True, autoincrement=False),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "open_seed",
        sa.Column("counter", INDEX, primary_key=True, autoincrement=False),
        sa.Column("start", INDEX, sa.ForeignKey("start.number"), nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("issued_at", INDEX, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER start_{verb.lower()} BEFORE {verb} ON start"
                f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        newer = "NEW.number <= (SELECT MAX(number) FROM start)"
        op.execute(
            f"CREATE TRIGGER start_insert BEFORE INSERT ON start WHEN {newer}"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}: number out of order'); END"
        )
    else:
        for verb, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER start_{verb.split()[0].lower()} BEFORE {verb} ON start"
                f" FOR EACH {each} EXECUTE FUNCTION weightwarden_append_only()"
            )
