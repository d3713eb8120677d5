"""Room for the series limit's columns of archives."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing yet."""
