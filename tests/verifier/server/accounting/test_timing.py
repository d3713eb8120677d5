"""The timing of a series is that of all answers of its archives, audited or not; and it is open where they lack it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from sqlalchemy import select, update

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.logger.record import Record
from weightwarden.logger.release import Pace, Release
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter
from weightwarden.verifier.server.api.figures import bounds
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.api.models import Bounds, Status
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.database.schema import ARCHIVE

DAY = 86_400.0


def paced(records: Sequence[Record]) -> list[Record]:
    """The records as released two tokens a tick, some with an underrun."""
    pace = Pace(tokens=2, milliseconds=50)
    return [
        record.model_copy(
            update={
                "release": Release(pace=pace, streamed=True, start_slot=9 + at % 2, underruns=[[1, at]] if at else [])
            }
        )
        for at, record in enumerate(records)
    ]


def bits_of(records: Sequence[Record]) -> float:
    counter = ReleaseCounter()
    for record in records:
        counter.add(record)
    return counter.table.bits


def shown(server: Server) -> tuple[Status, Bounds]:
    with server.opened.database.reading() as connection:
        return status_of(server.opened, connection), bounds(server.opened, connection)


@pytest.fixture
def server(tmp_path: Path, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, CheapReplayer(bundled_policy, Path()), bundled_policy, audit_rate=0.5)


def test_each_archive_is_charged_for_all_of_its_answers_audited_or_not(server: Server, tmp_path: Path) -> None:
    log = Log(tmp_path / "archives")
    first, second = paced(honest(6)), paced(honest(12)[6:])
    for records in (first, second):
        log.seal(records)
        server.settle()
        server.clock.now += DAY
    status, ledger = shown(server)
    timing = status.bounds.timing
    assert status.audit.audited_records < 12
    assert (timing.records, timing.open_records, timing.tokens) == (12, 0, 96)
    assert timing.bits == pytest.approx(bits_of(first) + bits_of(second))
    assert timing.bits_per_token == pytest.approx(timing.bits / 96)
    assert ledger.timing == timing
    assert timing.statement.startswith("The moments at which the sidecar released all 12 answers")
    term = next(channel for channel in ledger.channels if channel.name == "timing")
    assert term.counted
    assert timing.bits_per_token is not None
    assert status.traffic.tokens_per_day is not None
    assert term.bits_per_day == pytest.approx(timing.bits_per_token * status.traffic.tokens_per_day)
    assert status.bounds.open_channels == []
    with server.opened.database.reading() as connection:
        rows = connection.execute(select(ARCHIVE.c.timing_bits, ARCHIVE.c.paced_records).order_by(ARCHIVE.c.id)).all()
    assert [tuple(row) for row in rows] == [(pytest.approx(bits_of(some)), 6) for some in (first, second)]
    samples = generate_latest(Metrics(server.opened).registry).decode()
    assert f"weightwarden_verifier_timing_bits_total {timing.bits}" in samples
    assert "weightwarden_verifier_timing_open_records_total 0.0" in samples


def test_timing_is_open_while_some_answers_of_the_last_days_lack_it(server: Server, tmp_path: Path) -> None:
    log = Log(tmp_path / "archives")
    log.seal([*paced(honest(6))[:4], *honest(6)[4:]])
    server.settle()
    server.clock.now += DAY
    log.seal(paced(honest(12)[6:]))
    server.settle()
    status, ledger = shown(server)
    assert status.bounds.timing.open_records == 2
    assert "open for the other 2" in status.bounds.timing.statement
    assert status.bounds.open_channels == ["timing"]
    assert any("Timing is open" in said for said in ledger.assumptions)
    with server.opened.database.writing() as connection:  # eight days later the answers without it are not recent
        connection.execute(update(ARCHIVE).where(ARCHIVE.c.id == 1).values(checked=server.clock.now - 8 * DAY))
    status, _ = shown(server)
    assert status.bounds.open_channels == []
    assert status.bounds.timing.open_records == 2


def test_archives_of_earlier_versions_are_open(server: Server, tmp_path: Path) -> None:
    Log(tmp_path / "archives").seal(paced(honest(6)))
    server.settle()
    with server.opened.database.writing() as connection:
        connection.execute(update(ARCHIVE).values(timing_bits=None, paced_records=None, paced_tokens=None))
    timing = shown(server)[0].bounds.timing
    assert (timing.records, timing.open_records, timing.bits_per_token) == (0, 6, None)
    assert timing.statement == "Timing is open: of 6 answers none with tokens holds when it was released."


def test_without_answers_nothing_is_said_to_be_paced(server: Server) -> None:
    timing = shown(server)[0].bounds.timing
    assert (timing.records, timing.open_records) == (0, 0)
    assert timing.statement.startswith("Timing is open")
