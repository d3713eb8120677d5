"""The sampling design of each archive, and the lengths of its records that are not audited."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNCOUNTED = sa.text("unaudited IS NOT NULL")
ARCHIVE = sa.table("archive", *(sa.column(name) for name in ("audit_rate", "audit_by")))


def upgrade() -> None:
    """Add the columns; archives drawn before were drawn by records, and the limit of the series begins after them."""
    op.add_column("archive", sa.Column("audit_by", sa.String(), nullable=True))
    op.add_column("archive", sa.Column("position_end", BIG, nullable=True))
    op.add_column("archive", sa.Column("unaudited", sa.LargeBinary(), nullable=True))
    op.get_bind().execute(sa.update(ARCHIVE).where(ARCHIVE.c.audit_rate.is_not(None)).values(audit_by="records"))
    op.create_index(
        "archive_uncounted", "archive", ["position_end"], sqlite_where=UNCOUNTED, postgresql_where=UNCOUNTED
    )
    op.drop_column("archive", "weight")
