"""`verify calibrate` on a sidecar's archives, as `verify run` reads them."""

from pathlib import Path

import pytest

from tests.cli.commands.log.test_log import ORIGIN, Logs
from tests.cli.commands.test_vllm import invoke
from tests.verifier.replay.vllm.small_server import Behaviour, record, small_server
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier import http_client
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.policy.file import read_policy


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(http_client, "MAX_WAIT", 0.0)


def test_a_policy_is_made_from_the_archives_of_a_log(tmp_path: Path, model_folder: Path) -> None:
    logs = Logs(tmp_path)
    records = [record([5, 6, i], seed=i, count=6, temperature=0.0) for i in range(12)]
    for part in (records[:5], records[5:]):
        with LogWriter.open(str(logs.log), origin=ORIGIN) as writer:
            for one in part:
                writer.append(encode_record(one)).result(60)
        logs.seal()
    with small_server(Behaviour()) as url:
        replay = ("--exact", "--replayer", "vllm", "--replay-url", url, "--model", model_folder)
        arguments = ("calibrate", logs.archives, "--public-key", logs.public, *replay)
        made = invoke(*arguments, "--out", tmp_path / "exact.toml")
        assert made.exit_code == 0, made.output
        assert "12 records differs beyond ties" in made.output
        policy = read_policy(tmp_path / "exact.toml")
        assert isinstance(policy, ExactPolicy)
        assert len(policy.check.traffic) == 2
        first = sorted(logs.archives.iterdir())[0]
        content = bytearray(first.read_bytes())
        content[len(content) // 2] ^= 1
        first.write_bytes(content)
        refused = invoke(*arguments, "--out", tmp_path / "none.toml")
        assert refused.exit_code == 2
        assert not (tmp_path / "none.toml").exists()
