"""The reports of taps on the inference server's link."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "egress_report",
        sa.Column("id", number, primary_key=True),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("read", sa.Double(), nullable=False),
        sa.Column("fault", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("origin", sa.String()),
        sa.Column("verdict", sa.String()),
        sa.Column("first_time", sa.Double()),
        sa.Column("last_time", sa.Double()),
        sa.Column("frames", number),
        sa.Column("unexplained_frames", number),
        sa.Column("unexplained_bytes", number),
        sa.Column("what", sa.Text()),
    )
    op.create_index("egress_report_file", "egress_report", ["url", "fingerprint"], unique=True)
    op.create_index("egress_report_newest", "egress_report", ["folder", "last_time"])
    op.create_index("egress_report_verdict", "egress_report", ["verdict", "id"])
