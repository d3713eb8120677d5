"""The work of a server: what fails is tried again and said, what hangs ends it, and --once leaves nothing unsaid."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.server.running import Log, Server, honest, server_in
from tests.verifier.server.tap_reports import put, report, the_tap
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.daemon import Daemon, DatabaseClock, drain, exit_code_of
from weightwarden.verifier.server.errors import Unfinished, VerdictsUnusable
from weightwarden.verifier.verification.verifier import Verifier


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, replayer, bundled_policy, poll_interval=0.1, stuck_after=60.0, lease_timeout=0.4)


@pytest.fixture
def impatient(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    """A server that calls work stuck after a second, which on a busy machine honest work takes, too."""
    return server_in(tmp_path, replayer, bundled_policy, poll_interval=0.1, stuck_after=1.0, lease_timeout=0.4)


def run_until(daemon: Daemon, happened: Any) -> None:
    """Let a daemon work until something happened."""
    threads = daemon.start()
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    daemon.stopping.set()
    for thread in threads:
        thread.join()


def test_what_hangs_ends_the_server(impatient: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Log(tmp_path / "archives").seal(honest(2))
    hanging = threading.Event()

    def hangs(*_: Any) -> None:
        hanging.wait(30)
        raise RuntimeError("at last")

    monkeypatch.setattr(Verifier, "judge", hangs)
    daemon = Daemon(impatient.opened, threading.Event(), DatabaseClock())

    def stopped() -> bool:
        if daemon.stopping.is_set():
            hanging.set()
        return daemon.stopping.is_set()

    run_until(daemon, stopped)
    assert daemon.stuck
    assert exit_code_of(daemon) == 2
    assert impatient.events("stuck")


def test_work_that_fails_is_said_and_goes_on_and_other_work_with_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Log(tmp_path / "archives").seal(honest(2))
    monkeypatch.setattr("weightwarden.verifier.server.daemon.RETRY_SECONDS", 0.2)
    daemon = Daemon(server.opened, threading.Event(), DatabaseClock())
    look = type(server.opened.watch).look
    failures = [VerdictsUnusable("the disk is full"), ZeroDivisionError()]
    said: list[str | None] = []

    def broken(watch: Any) -> None:
        said.append(daemon.ready())
        if failures:
            raise failures.pop(0)
        look(watch)

    monkeypatch.setattr(type(server.opened.watch), "look", broken)

    def audited() -> bool:
        return bool(server.events("audited")) and not failures and daemon.ready() is None

    run_until(daemon, audited)
    assert [event["why"] for event in server.events("trouble")] == [
        "the disk is full",
        "watch: an internal error: ZeroDivisionError",
    ]
    assert "incidents cannot be kept" in said


def test_once_says_what_it_could_not_audit(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    (tmp_path / "more").mkdir()
    folders = (str(tmp_path / "archives"), str(tmp_path / "more"))
    server = server_in(tmp_path, replayer, bundled_policy, archives=folders, lease_timeout=0.2)
    Log(tmp_path / "archives").seal(honest(2))
    shutil.rmtree(tmp_path / "more")
    with pytest.raises(Unfinished, match="more: cannot be looked up"):
        drain(server.opened, threading.Event(), DatabaseClock())
    (tmp_path / "more").mkdir()
    drain(server.opened, threading.Event(), DatabaseClock())
    other = server_in(tmp_path, replayer, bundled_policy, archives=folders)
    assert other.opened.membership.take("follow")
    with pytest.raises(Unfinished, match="another server follows"):
        drain(server.opened, threading.Event(), DatabaseClock())


def test_a_tap_is_followed_and_its_missing_folder_is_a_trouble(
    tmp_path: Path, tap: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    followed: dict[str, Any] = {"egress_reports": (str(tap),), "poll_interval": 0.1, "lease_timeout": 0.4}
    server = server_in(tmp_path, replayer, bundled_policy, **followed)
    put(tap, "0.json", report(server.clock()))
    run_until(Daemon(server.opened, threading.Event(), DatabaseClock()), lambda: bool(server.events("tap reported")))
    assert the_tap(server).state == "clear"
    shutil.rmtree(tap)
    run_until(Daemon(server.opened, threading.Event(), DatabaseClock()), lambda: bool(server.events("trouble")))
    assert [event["kind"] for event in server.events("trouble")] == ["egress folders"]
    with pytest.raises(Unfinished, match="tap: cannot be looked up"):
        drain(server.opened, threading.Event(), DatabaseClock())


def test_once_does_not_pass_over_records_that_others_hold(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    from weightwarden.verifier.server.audit.task_queue import lease

    server = server_in(tmp_path, replayer, bundled_policy, lease_timeout=0.2)
    other = server_in(tmp_path, replayer, bundled_policy)
    Log(tmp_path / "archives").seal(honest(3))
    server.opened.follower.look()
    assert len(lease(other.opened.membership, 1, 1)) == 1
    with pytest.raises(Unfinished, match="1 records have no verdict yet"):
        drain(server.opened, threading.Event(), DatabaseClock())
