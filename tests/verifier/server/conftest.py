from pathlib import Path

import pytest

from tests.postgresql import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where new verdicts may be kept."""
    if request.param == "sqlite":
        return str(tmp_path / "verdicts.db")
    return new_database(request.getfixturevalue("postgresql"))
