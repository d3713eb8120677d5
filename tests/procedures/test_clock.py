"""A clock that is set back or forward by a day, while a sidecar or a verification server runs and between its runs."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.commands.test_run import invoke
from tests.logger.sidecar.running import Sidecar
from tests.logger.sidecar.scripted_upstream import Upstream, honest, response, sends
from tests.procedures.operated import OperatedLog, findings
from tests.verifier.server.running import Clock, Log, server_in
from tests.verifier.server.running import honest as honest_records
from weightwarden.logger.sidecar.log.seeds import MAX_KEPT_SECONDS
from weightwarden.logger.store.reader import LogReader
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.database.usage import verdict_usage

pytestmark = pytest.mark.slow

DAY = 86_400.0


def awaited(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answered(sidecar: Sidecar, prompt: int) -> None:
    """An answer, with the checkpoint and the archive that hold it."""
    assert sidecar.complete([7, prompt], max_tokens=2).status_code == 200
    sidecar.await_closed_seeds()
    reader = LogReader(sidecar.log)
    awaited(lambda: reader.sealed_size() == reader.size())


def found_at(operated: OperatedLog, public: Path, moment: float) -> list[int]:
    """The records that `verify log find` finds within a second of a moment, in archives and in the database."""
    span = f"{datetime.fromtimestamp(moment, UTC).isoformat()}/1s"
    options = ("--public-key", public, "--log", operated.settings().log, "--time", span, "--json")
    result = invoke("log", "find", operated.archives, *options)
    assert result.exit_code == 0, result.output
    return sorted(json.loads(line)["record_index"] for line in result.output.splitlines())


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_a_clock_that_jumps_stops_neither_seeds_nor_checkpoints_nor_archives(
    operated: OperatedLog, upstream: Upstream, step: float
) -> None:
    upstream.answer = honest
    clock = Clock()
    begin = clock.now
    intervals = {"checkpoint_every": 0.02, "seal_every": 0.02, "keep_sealed": 1}
    public = operated.public("log.pub", *operated.settings().signing_keys)
    seen = operated.folder / "seen.checkpoint"
    with operated.sidecar(clock, **intervals) as sidecar:
        answered(sidecar, 0)
        clock.now += step
        answered(sidecar, 1)
        clock.now -= step
        answered(sidecar, 2)
    assert findings([operated.archives], public, seen) == []
    clock.now += step
    with operated.sidecar(clock, **intervals) as sidecar:
        answered(sidecar, 3)
        assert sidecar.complete([7, 3], max_tokens=2).json()["created"] == int(begin + step)
    assert findings([operated.archives], public, seen) == []
    assert len({asked["seed"] for asked in upstream.asked[-5:]}) == 5
    assert found_at(operated, public, begin) == [0, 2]
    assert found_at(operated, public, begin + step) == [1, 3, 4]


def test_a_failed_request_keeps_its_seed_over_a_jump_of_a_day_but_not_of_more_than_seven(
    operated: OperatedLog, upstream: Upstream
) -> None:
    clock = Clock()
    upstream.answer = sends(response("503 Service Unavailable"))
    with operated.sidecar(clock) as sidecar:
        for moved in (0, -DAY, 2 * DAY):
            clock.now += moved
            assert sidecar.complete([9], max_tokens=2).status_code == 502
    assert len({asked["seed"] for asked in upstream.asked[-3:]}) == 1
    clock.now += MAX_KEPT_SECONDS + DAY
    upstream.answer = honest
    with operated.sidecar(clock) as sidecar:
        assert sidecar.complete([9], max_tokens=2).status_code == 200
    assert len({asked["seed"] for asked in upstream.asked[-2:]}) == 2


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_a_verification_server_whose_clock_jumps_goes_on(
    tmp_path: Path, replayer: Replayer, bundled_policy: BasePolicy, step: float
) -> None:
    records, clock = honest_records(6, tokens=4), Clock()
    log = Log(tmp_path / "archives")
    server = server_in(tmp_path, replayer, bundled_policy, clock)
    for at, moved in enumerate((0.0, step)):
        clock.now += moved
        log.seal(records[2 * at : 2 * at + 2])
        server.settle()
    server.opened.membership.leave()
    clock.now -= step
    again = server_in(tmp_path, replayer, bundled_policy, clock)
    log.seal(records[4:])
    again.settle()
    assert verdict_usage(again.opened.settings.database).records == 6
