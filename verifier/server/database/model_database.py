"""The database of one model among several: a schema of its own in PostgreSQL, a file of its own for SQLite."""

import re
from pathlib import Path

from sqlalchemy import URL, text

from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE
from weightwarden.verifier.server.errors import ServerSettingsError

MAX_NAME = 40
"""Number of characters of the longest name of a model."""
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}")
_LOCK = 7_827_343


def check_name(name: str) -> str:
    """The name of a model, which schemas, files, paths and metrics are named by.

    Raises:
        ServerSettingsError: it has other characters, or too many.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise ServerSettingsError(
            f"a model's name has lowercase letters, digits, '.', '_' and '-', at most {MAX_NAME}, and begins with a"
            f" letter or a digit, unlike {name[: MAX_NAME + 1]!r}"
        )
    return name


def model_database(database: str, name: str) -> str:
    """The URL of a model's database: the tables of one series, as a single model has them.

    `verdicts.db` becomes `verdicts.NAME.db`; in PostgreSQL the tables are in the schema `model_NAME`.

    Raises:
        VerdictsUnusable: the text names no database.
        ServerSettingsError: the name cannot be used.
    """
    url, name = VERDICT_DATABASE.parse_url(database), check_name(name)
    if url.drivername == "sqlite":
        path = Path(str(url.database))
        return str(path.with_name(f"{path.stem}.{name}{path.suffix}"))
    given = url.query.get("options", "")
    options = [*([given] if isinstance(given, str) else given), f'-csearch_path="{_schema(name)}"']
    url = url.update_query_dict({"options": " ".join(filter(None, options))})
    return url.render_as_string(hide_password=False)


def make_model_database(database: str, name: str) -> str:
    """The URL of a model's database. Its schema in PostgreSQL is made when it is missing.

    Raises:
        VerdictsUnusable: the database cannot be used, or its user may not make the schema.
        ServerSettingsError: the name cannot be used.
    """
    url = VERDICT_DATABASE.parse_url(database)
    made = model_database(database, name)
    if url.drivername != "sqlite":
        _make_schema(url, _schema(name))
    return made


def _schema(name: str) -> str:
    return f"model_{name}"


def _make_schema(url: URL, schema: str) -> None:
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :schema")
    with (
        VERDICT_DATABASE.failures_named(url),
        VERDICT_DATABASE.make_engine(url).connect() as connection,
        connection.begin(),
    ):
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))  # two servers may start at once
        if connection.execute(there, {"schema": schema}).first() is None:
            connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
