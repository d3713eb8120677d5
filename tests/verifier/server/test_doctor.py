"""The checks of a verification server's settings: all clear when it would start, and a finding for each fault."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.places import BUNDLED_POLICY
from tests.verifier.server.running import Log, honest, settings_in
from weightwarden.logger.doctor.files import now_utc
from weightwarden.logger.doctor.finding import Finding, Status, has_faults
from weightwarden.logger.errors import ModelError
from weightwarden.logger.files.private import write_private
from weightwarden.logger.serving.address import Address
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.server.doctor import examine
from weightwarden.verifier.server.settings import Settings


@pytest.fixture(scope="module")
def identity(model_folder: Path) -> ModelIdentity:
    return identify_model(model_folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_in(tmp_path)
    Log(tmp_path / "archives").seal(honest(2))
    return settings


def nothing() -> None:
    """A replayer that can be used."""


@pytest.fixture
def examined(identity: ModelIdentity) -> Callable[..., list[Finding]]:
    def run(settings: Settings, **more: Any) -> list[Finding]:
        given: dict[str, Any] = {
            "policy_path": BUNDLED_POLICY,
            "identify": lambda: identity,
            "check_replayer": nothing,
            "now": now_utc,
        }
        return examine(settings, **(given | more))

    return run


def the_fault(findings: list[Finding], check: str) -> Finding:
    [finding] = [one for one in findings if one.check == check and one.status is Status.FAULT]
    assert finding.advice
    assert "\n" not in finding.found + finding.advice
    return finding


Examined = Callable[..., list[Finding]]


def test_settings_with_which_it_starts_have_no_fault_and_nothing_is_changed(
    settings: Settings, examined: Examined, tmp_path: Path
) -> None:
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    findings = examined(settings)
    assert not has_faults(findings), findings
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert {one.check for one in findings} >= {
        *("policy", "model", "replayer", "public keys", "audit key", "API keys", "archives", "verdicts", "SQLite"),
        *("disk", "clock", "delivery", "address"),
    }
    assert (tmp_path / "audit.key").read_text() not in repr(findings)


def test_a_model_that_is_not_the_policys_is_a_fault(
    settings: Settings, examined: Examined, identity: ModelIdentity
) -> None:
    def missing() -> ModelIdentity:
        raise ModelError("/nowhere: no such model folder")

    other = replace(identity, digest="sha256:" + "0" * 64)
    assert "the policy is for" in the_fault(examined(settings, identify=lambda: other), "model").found
    assert "/nowhere" in the_fault(examined(settings, identify=missing), "model").found


def test_a_policy_or_a_replayer_that_cannot_be_used_is_a_fault(
    settings: Settings, examined: Examined, tmp_path: Path
) -> None:
    def unreachable() -> None:
        raise ReplayServerError("http://127.0.0.1:9: connection refused")

    (tmp_path / "policy.toml").write_text("format = 1")
    assert "policy.toml" in the_fault(examined(settings, policy_path=tmp_path / "policy.toml"), "policy").found
    assert "refused" in the_fault(examined(settings, check_replayer=unreachable), "replayer").found


def test_keys_that_cannot_be_used_are_faults(settings: Settings, examined: Examined, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    changed = {
        "public keys": replace(settings, public_keys=missing),
        "audit key": replace(settings, audit_key=missing),
        "API keys": replace(settings, api_keys=missing),
        "read keys": replace(settings, read_keys=missing),
        "webhook secret": replace(settings, webhook_secret=missing),
    }
    for check, given in changed.items():
        assert str(missing) in the_fault(examined(given), check).found
    (tmp_path / "audit.key").chmod(0o644)
    assert "others than its owner" in the_fault(examined(settings), "audit key").found
    write_private(tmp_path / "webhook.secret", b"short")
    short = replace(settings, webhook="https://example.org", webhook_secret=tmp_path / "webhook.secret")
    assert "at least 24 bytes" in the_fault(examined(short), "webhook secret").found


def test_readers_with_the_operators_key_are_a_fault(settings: Settings, examined: Examined, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "api.keys", tmp_path / "read.keys")
    (tmp_path / "read.keys").chmod(0o600)
    findings = examined(replace(settings, read_keys=tmp_path / "read.keys"))
    assert "--read-keys" in the_fault(findings, "secrets").found


def test_places_that_cannot_be_used_are_faults(settings: Settings, examined: Examined, tmp_path: Path) -> None:
    assert the_fault(examined(replace(settings, archives=(str(tmp_path / "missing"),))), "archives")
    assert the_fault(examined(replace(settings, database=str(tmp_path / "missing" / "v.db"))), "verdicts")
    assert the_fault(examined(replace(settings, egress_reports=(str(tmp_path / "missing"),))), "egress reports")
    (tmp_path / "tap").mkdir()
    reports = [
        one for one in examined(replace(settings, egress_reports=(str(tmp_path / "tap"),))) if "egress" in one.check
    ]
    assert [(one.status, one.found) for one in reports] == [
        (Status.WARNING, f"{tmp_path}/tap: holds no report yet"),
    ]
    elsewhere = Address(host="192.0.2.1", port=8090)
    assert the_fault(examined(replace(settings, listen=elsewhere)), "address")
    assert the_fault(examined(replace(settings, tls_key=tmp_path / "tls.key")), "TLS")
    both = replace(settings, tls_key=tmp_path / "tls.key", tls_certificate=tmp_path / "tls.pem")
    assert the_fault(examined(both), "TLS")
    everywhere = replace(settings, listen=Address(host="0.0.0.0", port=settings.listen.port))
    assert [one.status for one in examined(everywhere) if one.check == "exposure"] == [Status.WARNING]


def test_a_clock_behind_the_newest_archive_is_a_warning(settings: Settings, examined: Examined, tmp_path: Path) -> None:
    [archive] = (tmp_path / "archives").glob("*.parquet")
    later = time.time() + 3600
    os.utime(archive, (later, later))
    [clock] = [one for one in examined(settings) if one.check == "clock"]
    assert (clock.status, "behind the newest archive" in clock.found) == (Status.WARNING, True)


def test_ways_of_delivery_that_cannot_work_are_faults(settings: Settings, examined: Examined, tmp_path: Path) -> None:
    write_private(tmp_path / "webhook.secret", b"a secret of the webhook's own")
    secret = tmp_path / "webhook.secret"
    url = "https://alerts.example.org/token-in-the-path"
    works = examined(replace(settings, webhook=url, webhook_secret=secret, command=("true",)))
    assert not has_faults(works)
    assert "token-in-the-path" not in repr(works)
    assert the_fault(examined(replace(settings, webhook=url)), "webhook")
    assert the_fault(examined(replace(settings, webhook="mailto:a@b", webhook_secret=secret)), "webhook")
    assert the_fault(examined(replace(settings, command=("no-such-program",))), "alarm command")
