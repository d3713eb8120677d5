"""The table of the records' requests and times, beside the log, and the same of drafts. Rows may be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INDEX = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and the columns of drafts. Records and drafts from before have neither."""
    op.create_table(
        "request",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("time", INDEX, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
    )
    op.add_column("draft", sa.Column("request_id", sa.String, nullable=True))
    op.add_column("draft", sa.Column("begun", INDEX, nullable=True))
