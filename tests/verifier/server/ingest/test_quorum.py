"""Which archives are audited when witnesses must have cosigned the log."""

from pathlib import Path

import pytest

from tests.logger.sidecar.log.cosigning import keys_of
from tests.logger.witness import StrictWitness
from tests.verifier.server.ingest.test_follower import quarantined, states, waiting
from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

RECORDS = honest(12)
WITNESSES = [StrictWitness(f"witness.example/w{number}", {}) for number in range(3)]


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, replayer, bundled_policy, quorum=Quorum(keys_of(WITNESSES), 2))


@pytest.fixture
def log(tmp_path: Path, server: Server) -> Log:
    return Log(tmp_path / "archives")


def test_an_archive_with_a_quorum_is_audited_and_another_quarantined(server: Server, log: Log) -> None:
    log.witnesses = WITNESSES[1:]
    log.seal(RECORDS[:2])
    log.witnesses = [WITNESSES[0], StrictWitness("witness.example/unlisted", {})]
    bad = log.seal(RECORDS[2:4])
    server.opened.follower.look()
    assert waiting(server) == [0, 1]
    assert quarantined(server) == {bad.name: "cosignature"}
    server.opened.follower.look()
    assert quarantined(server) == {bad.name: "cosignature"}


def test_an_uncosigned_archive_is_audited_once_a_cosigned_one_continues_it(server: Server, log: Log) -> None:
    first, second = log.seal(RECORDS[:2]), log.seal(RECORDS[2:3])
    server.opened.follower.look()
    assert quarantined(server) == {first.name: "cosignature", second.name: "cosignature"}
    log.witnesses = WITNESSES[:2]
    log.seal(RECORDS[3:5])
    for _ in range(3):
        server.opened.follower.look()
    assert quarantined(server) == {}
    assert sorted(waiting(server)) == [0, 1, 2, 3, 4]
    assert set(states(server).values()) == {"auditing"}


def test_a_fork_is_not_covered_by_the_history_that_witnesses_cosigned(server: Server, log: Log) -> None:
    fork = Log(log.folder).seal(RECORDS[6:8])
    log.skip(RECORDS[:2])
    log.witnesses = WITNESSES
    log.seal(RECORDS[2:4])
    server.opened.follower.look()
    server.opened.follower.look()
    assert quarantined(server)[fork.name] == "fork"
    assert waiting(server) == [2, 3]


def test_an_invalid_cosignature_of_a_listed_witness_is_never_covered(server: Server, log: Log) -> None:
    impostor = StrictWitness(WITNESSES[0].name, {}, key=WITNESSES[0].key, clock=lambda: 1.0)
    honest_line = impostor.line
    impostor.line = lambda text, seconds=None: honest_line(text + b"x\n", seconds)  # type: ignore[method-assign]
    log.witnesses = [impostor, *WITNESSES[1:]]
    bad = log.seal(RECORDS[:2])
    log.witnesses = WITNESSES
    log.seal(RECORDS[2:4])
    server.opened.follower.look()
    server.opened.follower.look()
    assert quarantined(server)[bad.name] == "cosignature"
    assert waiting(server) == [2, 3]
