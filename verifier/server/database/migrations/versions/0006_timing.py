"""The timing of each archive's answers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns. Archives that were checked before have no timing: it is open."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("archive", sa.Column("paced_records", number))
    op.add_column("archive", sa.Column("paced_tokens", number))
    op.add_column("archive", sa.Column("timing_bits", sa.Double()))
