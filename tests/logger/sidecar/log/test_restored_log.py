"""An old copy of the log in its place, another log under its name, failed requests over a restart."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.logger.sidecar.running import ORIGIN, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream, honest, response, sends
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.errors import LogLocked, LogUnreadable
from weightwarden.logger.store.mark import LogRolledBack, MarkFile, mark_path
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter


def put_back(log: Path, copy: Path) -> None:
    """An old copy of a database in its place, without what SQLite keeps beside it."""
    for beside in ("-wal", "-shm"):
        log.with_name(f"{log.name}{beside}").unlink(missing_ok=True)
    shutil.copyfile(copy, log)


@pytest.mark.parametrize("served", [0, 3])
def test_an_old_copy_of_the_log_is_not_served(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, served: int
) -> None:
    shared_upstream.answer = honest
    settings = settings_in(tmp_path, model_folder, shared_upstream.url)
    log, copy, newest = Path(settings.log), tmp_path / "copy.db", tmp_path / "newest.db"
    with running(settings) as sidecar:
        assert sidecar.complete([7], max_tokens=2).status_code == 200
    shutil.copyfile(log, copy)
    with running(settings) as sidecar:  # with no answers, too: counters may have been handed out
        for at in range(served):
            assert sidecar.complete([8, at], max_tokens=2).status_code == 200
        first = {record.seed for record in sidecar.records()}
    shutil.copyfile(log, newest)
    put_back(log, copy)
    with pytest.raises(LogRolledBack, match="begin a new log"), opened(settings):
        pass
    # A copy that a lost mark lets through issues no seed that the first history has used.
    mark = mark_path(settings.signing_keys[0], ORIGIN)
    mark.unlink()
    with pytest.raises(KeyFileError, match="verify log mark"), opened(settings):
        pass
    MarkFile(mark, ORIGIN).renew(LogReader(settings.log))
    with running(settings) as sidecar:
        for at in range(served):
            assert sidecar.complete([9, at], max_tokens=2).status_code == 200
        second = [record.seed for record in sidecar.records()][1:]
    assert not first & set(second)
    # The first history is older than the second's mark.
    put_back(log, newest)
    with pytest.raises(LogRolledBack), opened(settings):
        pass


def test_a_failed_request_keeps_its_seed_over_a_restart_and_with_a_stop_that_cuts_nothing(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream
) -> None:
    settings = settings_in(tmp_path, model_folder, shared_upstream.url)
    shared_upstream.asked.clear()
    shared_upstream.answer = sends(response("503 Service Unavailable"))
    with running(settings) as sidecar:
        assert sidecar.complete([7], max_tokens=2).status_code == 502
        assert sidecar.complete([7], max_tokens=2, stop=["never"]).status_code == 502
    with running(settings) as sidecar:
        assert sidecar.complete([7], max_tokens=3, top_k=10**6).status_code == 502
    shared_upstream.answer = honest
    with running(settings) as sidecar:
        assert sidecar.complete([7], max_tokens=2, logit_bias={"5": 0}).status_code == 200
        seeds = {asked["seed"] for asked in shared_upstream.asked}
        assert len(seeds) == 1
        assert sidecar.complete([7], max_tokens=2).status_code == 200
        assert shared_upstream.asked[-1]["seed"] not in seeds
    assert LogReader(settings.log).open_seeds() == []


def test_another_log_under_the_name_gets_no_checkpoint_of_this_one(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream
) -> None:
    shared_upstream.answer = honest
    (tmp_path / "logs").mkdir()
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, log=str(tmp_path / "logs" / "log.db"))
    with running(settings) as sidecar:
        assert sidecar.complete([7], max_tokens=2).status_code == 200
        sidecar.await_closed_seeds()  # a write that finds neither folder would end this log's writer first
        (tmp_path / "logs").rename(tmp_path / "moved")
        (tmp_path / "logs").mkdir()
        with LogWriter.open(settings.log, origin=ORIGIN) as other:
            other.append(b"of another history").result(60)
    assert LogReader(settings.log).checkpoints() == []
    assert [size for size, _ in LogReader(str(tmp_path / "moved" / "log.db")).checkpoints()] == [1]


def test_a_log_of_two_names_or_under_another_is_served_once(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream
) -> None:
    settings = settings_in(tmp_path, model_folder, shared_upstream.url)
    with running(settings):
        link = tmp_path / "link.db"
        link.hardlink_to(settings.log)
        with pytest.raises((LogLocked, LogUnreadable)), opened(replace(settings, log=str(link))):
            pass
        with pytest.raises(LogUnreadable, match="hard links"):
            LogWriter.open(str(link), origin=ORIGIN)
        with pytest.raises(LogUnreadable, match="hard links"):
            LogReader(str(link))
        link.unlink()
        Path(settings.log).rename(link)  # the same file, which no lock by its name knows
        with pytest.raises(LogLocked, match="another process serves"), opened(replace(settings, log=str(link))):
            pass
        link.rename(settings.log)
