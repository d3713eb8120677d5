"""The databases of log and verdicts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.places import EXAMPLES
from tests.postgresql import postgresql_server
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase

PASSWORDS = {"log-password": "a-password-of-the-log", "verdicts-password": "a-password-of-the-verdicts"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server, without role and database, on which the example was run."""
    secrets = tmp_path_factory.mktemp("secrets")
    for name, password in PASSWORDS.items():
        (secrets / name).write_text(f"{password}\n")
    with postgresql_server() as url:
        if shutil.which("psql") is None:
            pytest.skip("psql is not installed")
        _psql(url, secrets).check_returncode()
        yield url.replace("weightwarden@", "{role}@") + "/{database}"


def _psql(url: str, secrets: Path) -> "subprocess.CompletedProcess[str]":
    command = ["psql", "--no-psqlrc", "--file", str(EXAMPLES / "postgresql" / "databases.sql"), f"{url}/postgres"]
    environment = {**os.environ, "WEIGHTWARDEN_SECRETS": str(secrets)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def _url(server: str, role: str, database: str) -> str:
    return server.format(role=f"weightwarden_{role}", database=f"weightwarden_{database}")


def test_sidecar_and_verifier_have_a_database_each(server: str) -> None:
    with LogWriter.open(_url(server, "log", "log"), origin="logs.example.org/cluster-7") as log:
        assert log.size == 0
    VerdictDatabase(_url(server, "verdicts", "verdicts"))


@pytest.mark.parametrize(("role", "database"), [("log", "verdicts"), ("verdicts", "log")])
def test_neither_connects_to_the_others(server: str, role: str, database: str) -> None:
    engine = create_engine(make_url(_url(server, role, database)).set(drivername="postgresql+psycopg"))
    with pytest.raises(OperationalError, match="permission denied for database"):
        engine.connect()
    engine.dispose()


def test_roles_have_salted_passwords_and_no_other_rights(server: str) -> None:
    url = make_url(server.format(role="weightwarden", database="postgres")).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    asked = text(
        "SELECT rolpassword, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
        " FROM pg_authid WHERE rolname LIKE 'weightwarden\\_%'"
    )
    with engine.connect() as connection:
        rows = connection.execute(asked).all()
    engine.dispose()
    assert [(str(password)[:14], more) for password, more in rows] == [("SCRAM-SHA-256$", False)] * 2


def test_nothing_is_made_without_passwords(tmp_path: Path, server: str) -> None:
    done = _psql(server.format(role="weightwarden", database="").rstrip("/"), tmp_path)
    assert done.returncode == 3
    assert "holds no log-password" in done.stderr
