"""Incidents by the kind of their quarantine; signs of life by count instead of time; the place of retention."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = ("seal", "root", "fork", "model", "scheme", "record", "unreadable", "defect", "duplicate")
GENERAL = sa.table("incident", *(sa.column(name, sa.String) for name in ("kind", "subject", "what")))


def upgrade() -> None:
    """Rename the kinds of incidents, and count signs of life from 0; no verdict was removed by retention.

    An incident of the kind "quarantine" began its description, and the subject of the further ones its name, with the
    kind of the quarantine.
    """
    connection = op.get_bind()
    for kind in (*KINDS, "gap"):
        of_kind = GENERAL.c.kind.in_(("quarantine", "gap")) & GENERAL.c.what.like(f"{kind}: %")
        subject = sa.case(
            (GENERAL.c.subject.like(f"{kind}, %"), sa.func.substr(GENERAL.c.subject, len(kind) + 3)),
            else_=GENERAL.c.subject,
        )
        connection.execute(
            sa.update(GENERAL)
            .where(of_kind)
            .values(kind=kind, subject=subject, what=sa.func.substr(GENERAL.c.what, len(kind) + 3))
        )
    op.add_column("server", sa.Column("beats", BIG, nullable=False, server_default="0"))
    op.drop_column("server", "expires")
    op.drop_index("verdict_flagged", "verdict")
    for name in ("flagged", "unverifiable"):
        op.create_index(
            f"verdict_{name}",
            "verdict",
            ["position"],
            sqlite_where=sa.text(f"{name} = 1"),
            postgresql_where=sa.text(name),
        )
    op.add_column("series", sa.Column("retained_from", BIG, nullable=False, server_default="0"))
    if connection.dialect.name == "postgresql":
        op.alter_column("server", "beats", server_default=None)
        op.alter_column("series", "retained_from", server_default=None)
