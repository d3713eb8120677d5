from pathlib import Path

import pytest

from tests.verifier.server.running import Log, honest, server_in
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.database import usage
from weightwarden.verifier.server.database.usage import verdict_usage
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE, VerdictDatabase
from weightwarden.verifier.server.errors import VerdictsUnusable


def test_it_counts_the_audited_tokens(
    tmp_path: Path,
    database_url: str,
    replayer: Replayer,
    bundled_policy: BasePolicy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage, "PAGE", 2)
    server = server_in(tmp_path, replayer, bundled_policy, database=database_url)
    empty = verdict_usage(database_url)
    assert (empty.records, empty.output_tokens, empty.audited_share) == (0, 0, None)
    records = honest(5)
    Log(tmp_path / "archives").seal(records)
    server.settle()
    pages: list[int] = []
    found = verdict_usage(database_url, pages.append)
    assert found.records == sum(pages) == 5
    assert found.output_tokens == sum(len(record.output_token_ids) for record in records)
    assert found.audited_share == 1.0
    assert found.disk.total >= found.disk.held > 0
    if database_url.startswith("postgresql"):
        assert {"verdict", "evidence", "archive"} <= found.disk.parts.keys()


def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.db"
    with pytest.raises(VerdictsUnusable, match="there is no verdict database here"):
        verdict_usage(str(path))
    assert not path.exists()
    VerdictDatabase(str(path))
    engine = VERDICT_DATABASE.make_engine(VERDICT_DATABASE.parse_url(str(path)))
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(VerdictsUnusable, match="version 9999 of the verdict database's tables is not known"):
        verdict_usage(str(path))
