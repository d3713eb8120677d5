"""States without an incident: nothing audited, too little, and clear. No state passes without evidence."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.verifier.server.process import command, once
from tests.verifier.server.running import Clock, Log, Server, honest, server_in, settings_in, stolen
from weightwarden.cli.main import verify
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.accounting.bounds import Exposure
from weightwarden.verifier.server.api.figures import bounds
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.api.models import Status
from weightwarden.verifier.server.api.status import status_of

HOUR = 3600.0
RECORDS = honest(110)
FIRST = 20


def status(server: Server) -> Status:
    with server.opened.database.reading() as connection:
        return status_of(server.opened, connection)


def exposure(server: Server) -> Exposure:
    with server.opened.database.reading() as connection:
        return server.opened.exposure.read(connection, server.clock())


def test_nothing_audited_is_inconclusive_and_says_so(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, audit_rate=0.01)
    server.settle()
    found = status(server)
    assert (found.state, found.concern, found.reasons) == ("inconclusive", None, [])
    assert "nothing was audited;" in found.meaning
    assert found.conclusiveness.tokens_needed is not None
    assert found.conclusiveness.tokens_needed > 50_000  # a record that escapes the draw holds 1,024 tokens or more
    assert found.bounds.series is None
    assert found.bounds.days_to_exfiltrate is None
    text = generate_latest(Metrics(server.opened).registry).decode()
    assert 'weightwarden_verifier_state{state="inconclusive"} 1.0' in text
    assert 'weightwarden_verifier_state{state="clear"} 0.0' in text
    assert "weightwarden_verifier_days_to_exfiltrate nan" in text.lower()


def test_clear_comes_with_the_audited_tokens_that_were_foretold(
    tmp_path: Path, bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.throughput.cheap_replayer.OTHER_LOGIT", -1000.0)  # the claimed token is chosen
    some = {"audit_rate": 0.75, "max_record_weight": 8, "tokens_per_day": 1e9}
    server = server_in(tmp_path, CheapReplayer(bundled_policy, Path()), bundled_policy, Clock(), **some)
    log = Log(tmp_path / "archives")
    log.seal(RECORDS[:FIRST])
    server.settle()
    found = status(server)
    assert found.state == "inconclusive"
    assert found.bounds.days_to_exfiltrate is None
    assert found.bounds.bits_per_day is not None  # the limit is one, however wide
    assert f"{found.conclusiveness.wanted:.3g} bits a token" in found.meaning
    with server.opened.database.reading() as connection:
        ledger = bounds(server.opened, connection)
    assert not ledger.conclusiveness.conclusive
    assert ledger.days_to_exfiltrate is None
    foretold = found.conclusiveness.tokens_needed
    assert foretold is not None

    before = FIRST
    while status(server).state == "inconclusive":
        assert before < 100
        log.seal(RECORDS[before : before + 10])
        before += 10
        server.settle()
    took = sum(len(record.output_token_ids) for record in RECORDS[FIRST:before])
    assert foretold / 2 < took < 2 * foretold
    found = status(server)
    assert (found.state, found.conclusiveness.needs) == ("clear", None)
    assert found.conclusiveness.limit is not None
    assert found.conclusiveness.limit <= found.conclusiveness.wanted
    assert found.bounds.days_to_exfiltrate is not None
    with server.opened.database.reading() as connection:
        assert bounds(server.opened, connection).days_to_exfiltrate == found.bounds.days_to_exfiltrate
    server.clock.now += 3 * HOUR
    server.settle()
    assert status(server).state == "stale"  # evidence hides no incident
    monkeypatch.setattr("benchmarks.throughput.cheap_replayer.OTHER_LOGIT", 30.0)  # another token is
    log.seal(RECORDS[100:110])
    server.settle()
    found = status(server)
    assert (found.state, found.concern) == ("alarm", "evidence")


def test_no_incident_hides_behind_missing_evidence(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy)
    server.opened.membership.beat(trouble="the replay server is gone")
    server.opened.watch.look()
    found = status(server)
    assert (found.state, found.concern, found.meaning) == (
        "watch",
        "operation",
        "A verification server has trouble.",
    )
    server.clock.now += 3 * HOUR
    server.opened.watch.look()
    found = status(server)
    assert (found.state, found.meaning) == ("stale", "No new archive.")
    (tmp_path / "archives" / "junk.parquet").write_bytes(b"a file that somebody left here")
    server.opened.follower.look()
    server.opened.watch.look()
    found = status(server)
    assert (found.state, found.concern, found.meaning) == ("alarm", "log", "An archive without a valid seal.")
    assert found.reasons[0].links.runbook == "runbook#seal"


def test_answers_that_are_charged_too_much_are_a_limit_that_no_audit_lowers(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy)
    poisoned = [
        record.model_copy(
            update={"sampling": record.sampling.model_copy(update={"allowed_token_ids": [2], "min_tokens": 8})}
        )
        for record in RECORDS[:4]
    ]
    Log(tmp_path / "archives").seal(poisoned)
    server.settle()
    found = status(server)
    assert found.conclusiveness.conclusive is False
    assert found.conclusiveness.tokens_needed is None
    assert found.conclusiveness.needs is not None
    assert found.conclusiveness.needs.endswith("and no number of audited tokens like these reaches it")


@pytest.mark.usefixtures("model_folder")
def test_once_passes_nothing_without_evidence(tmp_path: Path) -> None:
    (tmp_path / "tap").mkdir()
    tap = ("--egress-reports", tmp_path / "tap")
    database, options = str(tmp_path / "verdicts.db"), ("--audit-rate", 1, "--once", *tap)
    arguments = command(tmp_path, database, *options)[1:]
    nothing = CliRunner().invoke(verify, arguments)
    assert (nothing.exit_code, nothing.stdout[:20]) == (2, "State: INCONCLUSIVE."), nothing.output
    assert "nothing was audited;" in nothing.stdout
    assert nothing.stdout.endswith(f"\nTap with reports in {tmp_path}/tap: none.\n")
    (tmp_path / "archives" / "junk.parquet").write_bytes(b"a file that somebody left here")
    junk = CliRunner().invoke(verify, arguments)
    assert junk.exit_code == 1
    assert junk.stdout.startswith("State: ALARM. An archive without a valid seal.\nTap")
    assert "\n  alarm, seal: " in junk.stdout


@pytest.mark.slow
def test_once_is_0_for_clear_and_1_for_an_alarm_and_2_for_an_incident(tmp_path: Path) -> None:
    settings_in(tmp_path)
    log = Log(tmp_path / "archives")
    log.seal(RECORDS[:100])
    database, options = str(tmp_path / "verdicts.db"), ("--audit-rate", 1, "--max-record-weight", 8)
    assert once(tmp_path, database, *options) == 0
    log.skip(RECORDS[100:101])
    log.seal(RECORDS[101:102])
    assert once(tmp_path, database, *options) == 2
    log.seal([stolen(record) for record in RECORDS[102:108]])
    assert once(tmp_path, database, *options) == 1


def test_the_status_is_json_whatever_the_limits_are(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, max_record_weight=1)
    json.dumps(status(server).model_dump(), allow_nan=False)
