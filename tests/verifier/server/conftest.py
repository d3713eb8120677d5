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
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where new verdicts may be kept."""
    if request.param == "sqlite":
        return str(tmp_path / "verdicts.db")
    return new_database(request.getfixturevalue("postgresql"))


def new_database(server: str) -> str:
    import psycopg

    name = f"verdicts{next(_numbers)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
