"""The tables of the verdict database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "archive",
        sa.Column("id", BIG, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("found", sa.Double(), nullable=False),
        sa.Column("checked", sa.Double(), nullable=True),
        sa.Column("audited", sa.Double(), nullable=True),
        sa.Column("origin", sa.String(), nullable=True),
        sa.Column("start", BIG, nullable=True),
        sa.Column("end", BIG, nullable=True),
        sa.Column("root", sa.LargeBinary(), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("records", BIG, nullable=True),
        sa.Column("tokens", BIG, nullable=True),
        sa.Column("cost", BIG, nullable=True),
        sa.Column("weight", BIG, nullable=True),
        sa.Column("audit_rate", sa.Double(), nullable=True),
        sa.Column("selected", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("url"),
    )
    op.create_index("archive_checked", "archive", ["checked"], unique=False)
    op.create_index("archive_found", "archive", ["found"], unique=False)
    op.create_index("archive_range", "archive", ["origin", "start"], unique=False)
    op.create_index("archive_silence", "archive", ["origin", "checked"], unique=False)
    op.create_index("archive_state", "archive", ["state", "id"], unique=False)
    op.create_table(
        "incident",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("opened", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("acknowledged", sa.Double(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("incident_ended", "incident", ["ended", "id"], unique=False)
    op.create_index("incident_unseen", "incident", ["acknowledged", "id"], unique=False)
    op.create_table(
        "lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "rate_point",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rate_point_at", "rate_point", ["at"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("policy_digest", sa.String(), nullable=False),
        sa.Column("model_digest", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=True),
        sa.Column("next_position", BIG, nullable=False),
        sa.Column("accounted", BIG, nullable=False),
        sa.Column("accounts", sa.LargeBinary(), nullable=False),
        sa.Column("credit", sa.Double(), nullable=False),
        sa.Column("credit_at", sa.Double(), nullable=False),
        sa.Column("watched", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "server",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("tokens_per_second", sa.Double(), nullable=True),
        sa.Column("compute_share", sa.Double(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tree_root",
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("size", BIG, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", BIG, nullable=False),
        sa.Column("incident", BIG, nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("done", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["incident"],
            ["incident.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("delivery_due", "delivery", ["done", "due"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("archive", BIG, nullable=True),
        sa.Column("origin", sa.String(), nullable=True),
        sa.Column("start", BIG, nullable=True),
        sa.Column("end", BIG, nullable=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("resolved", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["archive"],
            ["archive.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("quarantine_archive", "quarantine", ["archive"], unique=False)
    op.create_index("quarantine_open", "quarantine", ["resolved", "id"], unique=False)
    op.create_table(
        "task",
        sa.Column("position", BIG, autoincrement=False, nullable=False),
        sa.Column("archive", BIG, nullable=False),
        sa.Column("index", BIG, nullable=False),
        sa.Column("cost", BIG, nullable=False),
        sa.Column("tokens", BIG, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["archive"],
            ["archive.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_index("task_archive", "task", ["archive"], unique=False)
    op.create_table(
        "verdict",
        sa.Column("position", BIG, autoincrement=False, nullable=False),
        sa.Column("archive", BIG, nullable=False),
        sa.Column("index", BIG, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("tokens", BIG, nullable=False),
        sa.Column("mismatches", BIG, nullable=False),
        sa.Column("suspicious", BIG, nullable=False),
        sa.Column("dangerous", BIG, nullable=False),
        sa.Column("outliers", BIG, nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
        sa.Column("unverifiable", sa.Boolean(), nullable=False),
        sa.Column("early_stop", sa.Boolean(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("counting_bits", sa.Double(), nullable=False),
        sa.Column("pooled_bits", sa.Double(), nullable=False),
        sa.Column("end_bits", sa.Double(), nullable=False),
        sa.Column("entropy_bits", sa.Double(), nullable=True),
        sa.Column("largest_margin", sa.Double(), nullable=True),
        sa.Column("margins", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["archive"],
            ["archive.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_index("verdict_flagged", "verdict", ["flagged", "position"], unique=False)
    op.create_index("verdict_of_archive", "verdict", ["archive", "position"], unique=False)
    op.create_index("verdict_record", "verdict", ["archive", "index"], unique=True)
    op.create_table(
        "evidence",
        sa.Column("position", BIG, autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["position"],
            ["verdict.position"],
        ),
        sa.PrimaryKeyConstraint("position"),
    )
