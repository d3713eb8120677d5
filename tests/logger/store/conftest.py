import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import postgresql_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with postgresql_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new log may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "log.db")
    import psycopg

    server: str = request.getfixturevalue("postgresql")
    name = f"log{next(_numbers)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
