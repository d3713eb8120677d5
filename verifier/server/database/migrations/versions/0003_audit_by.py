"""Audits by records or by tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """All archives so far were audited by records; their selected tokens and unit costs are estimates."""
    op.add_column("archive", sa.Column("audit_by", sa.String))
    op.add_column("archive", sa.Column("unit_cost", sa.Double))
    op.add_column("archive", sa.Column("selected_tokens", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    op.execute(sa.text("UPDATE archive SET audit_by = 'records' WHERE audit_rate IS NOT NULL"))
    op.execute(sa.text("UPDATE archive SET selected_tokens = CAST(audit_rate * tokens AS BIGINT)"))
    op.execute(sa.text("UPDATE archive SET unit_cost = cost * (1.0 * tokens / records + 8) / 1024 WHERE records > 0"))
