"""The likelihood ratios of verdicts in the conditional test."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column. Verdicts of earlier versions have no ratios."""
    op.add_column("verdict", sa.Column("log_ratio", sa.LargeBinary(), nullable=False, server_default=sa.text("''")))
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("verdict", "log_ratio", server_default=None)
