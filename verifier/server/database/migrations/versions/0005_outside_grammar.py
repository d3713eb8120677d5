"""The tokens of verdicts outside the grammars of their requests."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column. Requests of earlier versions had no grammars."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("verdict", sa.Column("outside_grammar", number, nullable=False, server_default=sa.text("0")))
