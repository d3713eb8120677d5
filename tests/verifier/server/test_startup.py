"""Start of a verification server: what it refuses, and what it warns of."""

from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import new_database, postgresql_server
from tests.verifier.server.running import API_KEY, server_in, settings_in
from weightwarden.logger.files.private import KeyFileError, write_private
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer


@pytest.mark.parametrize("option", ["read_keys", "audit_key", "webhook_secret", "tls_key"])
def test_one_secret_is_not_two_keys(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, option: str
) -> None:
    settings_in(tmp_path)
    write_private(tmp_path / "copy", f"# another file\n{API_KEY}\n".encode())
    more: dict[str, Any] = {option: tmp_path / "copy"}
    if option == "webhook_secret":
        more["webhook"] = "https://alerts.example.org"
    if option == "tls_key":
        more["tls_certificate"] = tmp_path / "copy"
    with pytest.raises(KeyFileError, match="hold the same secret") as failed:
        server_in(tmp_path, replayer, bundled_policy, **more)
    assert f"--{option.replace('_', '-')}" in str(failed.value)
    assert not (tmp_path / "verdicts.db").exists()


def test_a_database_that_does_not_sync_is_warned_of(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    with postgresql_server(fsync="off") as url:
        server = server_in(tmp_path, replayer, bundled_policy, database=new_database(url))
    [warning] = server.events("warning")
    assert warning["why"] == "PostgreSQL runs with fsync off: a power cut loses verdicts"


def test_nothing_is_warned_of_by_default(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    assert server_in(tmp_path, replayer, bundled_policy).events("warning") == []
