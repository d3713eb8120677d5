from pathlib import Path

import pytest

from tests.postgresql import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new log may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "log.db")
    return new_database(request.getfixturevalue("postgresql"))
