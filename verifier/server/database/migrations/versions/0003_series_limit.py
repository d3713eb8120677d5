"""The sampling design of each archive, its selected tokens, and the lengths of its records that are not audited."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNCOUNTED = sa.text("unaudited IS NOT NULL")


def upgrade() -> None:
    """Add the columns. The limit of the series begins after the archives so far.

    These were audited by records; their selected tokens and unit costs are estimates.
    """
    for name, kind in (
        ("audit_by", sa.String()),
        ("unit_cost", sa.Double()),
        ("selected_tokens", BIG),
        ("position_end", BIG),
        ("unaudited", sa.LargeBinary()),
    ):
        op.add_column("archive", sa.Column(name, kind, nullable=True))
    op.execute(sa.text("UPDATE archive SET audit_by = 'records' WHERE audit_rate IS NOT NULL"))
    op.execute(sa.text("UPDATE archive SET selected_tokens = CAST(audit_rate * tokens AS BIGINT)"))
    op.execute(sa.text("UPDATE archive SET unit_cost = cost * (1.0 * tokens / records + 8) / 1024 WHERE records > 0"))
    op.create_index(
        "archive_uncounted", "archive", ["position_end"], sqlite_where=UNCOUNTED, postgresql_where=UNCOUNTED
    )
    op.drop_column("archive", "weight")
