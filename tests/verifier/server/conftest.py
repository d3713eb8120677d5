from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import new_database
from tests.verifier.server.running import Clock, Server, server_in
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where new verdicts may be kept."""
    if request.param == "sqlite":
        return str(tmp_path / "verdicts.db")
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def tap(tmp_path: Path) -> Path:
    """The folder of a tap's reports."""
    folder = tmp_path / "tap"
    folder.mkdir()
    return folder


@pytest.fixture
def tapped(
    tmp_path: Path, tap: Path, database_url: str, replayer: TransformersReplayer, bundled_policy: Policy
) -> Server:
    """A server that follows the tap, and waits for no archive."""
    more: dict[str, Any] = {"database": database_url, "egress_reports": (str(tap),), "archive_interval": 1e9}
    return server_in(tmp_path, replayer, bundled_policy, Clock(), **more)
