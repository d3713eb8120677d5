"""The limit of the series counts every archive once, whole, with or without a selected record, whatever happens."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.verifier.server.running import Clock, Log, Server, honest, server_in, shortened
from weightwarden.logger.record import Record
from weightwarden.verifier.audit_selection import AuditDraw
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.ledger import CODED_BITS, MAX_END_BITS
from weightwarden.verifier.server.accounting.accounts import FORMAT, Accounts
from weightwarden.verifier.server.audit.task_queue import complete, lease
from weightwarden.verifier.server.database.schema import ARCHIVE, SERIES, VERDICT
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.statistics.total_limit import PoissonSample, TotalLimit
from weightwarden.verifier.verification.series_limit import CODES, price_ratios
from weightwarden.verifier.verification.verifier import Verifier

RATE = 0.3
BITS = float(np.log2(49_152))
DAY = 86_400.0
ANSWERS = [shortened(record, 3 + at % 9) for at, record in enumerate(honest(40, 12))]
ARCHIVES = [ANSWERS[:1], ANSWERS[1:13], ANSWERS[13:14], ANSWERS[14:15], ANSWERS[15:30], ANSWERS[30:40]]


@pytest.fixture
def cheap(bundled_policy: Policy) -> CheapReplayer:
    return CheapReplayer(bundled_policy, Path())


def accounts_of(server: Server) -> Accounts:
    with server.opened.database.reading() as connection:
        return Accounts.from_bytes(connection.execute(select(SERIES.c.accounts)).scalar_one())


def by_hand(server: Server, archives: list[list[Record]], verifier: Verifier, code: str) -> TotalLimit:
    """The limit of these archives from the draw and a run over the drawn records."""
    total = TotalLimit.at_prices(price_ratios(BITS, SamplingDesign(RATE), 8192))
    with server.opened.database.reading() as connection:
        roots = connection.execute(select(ARCHIVE.c.root).order_by(ARCHIVE.c.start)).scalars().all()
    key, index = server.opened.follower.audit_key, 0
    for records, root in zip(archives, roots, strict=True):
        draw = AuditDraw(RATE, key)
        drawn = [draw.selects(root, index + at, len(record.output_token_ids)) for at, record in enumerate(records)]
        index += len(records)
        audited = [record for record, is_drawn in zip(records, drawn, strict=True) if is_drawn]
        left = [len(record.output_token_ids) for record, is_drawn in zip(records, drawn, strict=True) if not is_drawn]
        bits_r = np.zeros(0)
        if audited:
            found = verifier.judge(audited)
            pooled_r = found.watched["pooled_bits"] + CODED_BITS
            bits_r = (found.charges.counting_bits_r if code == "counting" else pooled_r) + found.charges.end_bits_r
        total.add(
            PoissonSample(
                bits_r=bits_r,
                probability_r=np.full(len(audited), RATE),
                unaudited_bits_u=np.array(left) * BITS + MAX_END_BITS,
                unaudited_probability_u=np.full(len(left), RATE),
                unaudited_count_u=np.ones(len(left)),
                tokens=sum(len(record.output_token_ids) for record in records),
                audited_tokens=sum(len(record.output_token_ids) for record in audited),
            )
        )
    return total


def test_the_limit_is_the_one_by_hand(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy, database_url: str
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, database=database_url, audit_rate=RATE)
    log = Log(tmp_path / "archives")
    for records in ARCHIVES:
        log.seal(records)
        server.settle()
    with server.opened.database.reading() as connection:
        selected = connection.execute(select(ARCHIVE.c.selected).order_by(ARCHIVE.c.id)).scalars().all()
        left = connection.execute(select(func.count()).where(ARCHIVE.c.unaudited.is_not(None))).scalar_one()
    assert 0 in selected
    assert max(selected) > 1
    assert left == 0
    series = accounts_of(server).limit
    assert (series.draws, series.records, series.audited_records) == (len(ARCHIVES), 40, sum(selected))
    assert series.tokens == sum(len(record.output_token_ids) for record in ANSWERS)
    verifier = Verifier(cheap, bundled_policy)
    for code in CODES:
        ours, total = series.totals[code], by_hand(server, ARCHIVES, verifier, code)
        assert ours.limit(0.99).bits == pytest.approx(total.limit(0.99).bits, rel=1e-9)
        assert ours.spent_k == pytest.approx(total.spent_k, rel=1e-9, abs=1e-12)
        assert ours.excess_bits_k == pytest.approx(total.excess_bits_k)
        assert ours.unaudited_most_bits == pytest.approx(total.unaudited_most_bits)


def test_no_part_of_an_archive_shows_before_its_last_verdict(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, audit_rate=RATE, batch_records=1)
    log = Log(tmp_path / "archives")
    for records in ARCHIVES:
        log.seal(records)
    server.opened.follower.look()
    with server.opened.database.reading() as connection:
        ends = connection.execute(
            select(ARCHIVE.c.position_end, ARCHIVE.c.records, ARCHIVE.c.selected).order_by(ARCHIVE.c.start)
        ).all()
    done = 0
    while True:
        server.opened.bookkeeper.account()
        series = accounts_of(server).limit
        complete_ones = [row for row in ends if row.position_end <= done]
        assert series.draws == len(complete_ones)
        assert series.records == sum(row.records for row in complete_ones)
        assert series.audited_records == sum(row.selected for row in complete_ones)
        if not server.opened.auditor.work():
            break
        done += 1
    assert series.records == 40


def test_several_servers_and_interruptions_leave_the_limit_of_one(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        clock = Clock()
        servers = [
            server_in(folder, cheap, bundled_policy, clock, audit_rate=RATE, batch_records=2 if name == "two" else 32)
            for _ in range(1 if name == "one" else 2)
        ]
        log = Log(folder / "archives")
        for at, records in enumerate(ARCHIVES):
            log.seal(records)
            if name == "one":
                servers[0].settle()
                continue
            servers[at % 2].opened.follower.look()
            if at % 2:
                held = lease(servers[0].opened.membership, 1, 10_000)
                servers[1].settle()
                servers[0].opened.auditor._audit(held)
                with monkeypatch.context() as broken:
                    broken.setattr("weightwarden.verifier.server.accounting.bookkeeper.finish_archives", fail)
                    with pytest.raises(OSError, match="power"):
                        servers[0].opened.bookkeeper.account()
        servers[-1].settle()
        found.append(accounts_of(servers[0]).limit.to_dict())
    assert found[0] == found[1]


def fail(*_: object) -> None:
    raise OSError("power cut")


def test_what_cannot_be_replayed_is_charged_all_that_it_can_hold(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, batch_records=1)
    Log(tmp_path / "archives").seal(ANSWERS[:5])
    server.opened.follower.look()
    while tasks := lease(server.opened.membership, 1, 1):
        lost = server.opened.auditor._unverifiable(tasks[0], "it kills every server")
        complete(server.opened.membership, tasks, [lost], [])
    server.opened.bookkeeper.account()
    series = accounts_of(server).limit
    limit = series.limit("pooled", 0.99)
    assert limit is not None
    assert limit.bits == pytest.approx(series.tokens * BITS + 5 * MAX_END_BITS)


def test_verdicts_stay_until_the_limit_has_counted_them(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, audit_rate=0.9, batch_records=1, retain_days=30)
    Log(tmp_path / "archives").seal(ANSWERS)
    server.opened.follower.look()
    while server.opened.auditor.work():
        server.opened.bookkeeper.account()
        server.clock.now += 10 * DAY
        server.opened.retention.remove()
    server.opened.bookkeeper.account()
    series = accounts_of(server).limit
    assert series.audited_records == accounts_of(server).totals["records"] > 20
    assert series.records == 40
    server.opened.retention.remove()
    with server.opened.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(VERDICT)).scalar_one() < series.audited_records


def test_accounts_of_the_first_format_begin_their_limit_anew_and_say_so(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, audit_rate=RATE)
    log = Log(tmp_path / "archives")
    log.seal(ARCHIVES[1])
    server.settle()
    with server.opened.database.writing() as connection:
        data = connection.execute(select(SERIES.c.accounts)).scalar_one()
        connection.execute(update(SERIES).values(accounts=in_first_format(data)))
        connection.execute(update(ARCHIVE).values(position_end=None))  # as migrated
    before, clock = accounts_of_first_format(server), Clock(server.clock.now + DAY)
    again = server_in(tmp_path, cheap, bundled_policy, clock, audit_rate=RATE)
    assert [event["why"] for event in again.events("warning")] == [
        "the verdicts are of an earlier version: the limit of the series begins anew, now"
    ]
    log.seal(ARCHIVES[4])
    again.settle()
    accounts = accounts_of(again)
    assert (accounts.limit.records, accounts.limit_since) == (len(ARCHIVES[4]), clock.now)
    assert accounts.totals["records"] > before
    assert server_in(tmp_path, cheap, bundled_policy, clock, audit_rate=RATE).events("warning") == []


def test_a_lower_rate_than_the_series_was_made_for_is_said(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    for rate, warnings in ((RATE, 0), (1.0, 0), (0.5, 0), (RATE / 2, 1)):
        server = server_in(tmp_path, cheap, bundled_policy, audit_rate=rate)
        assert len(server.events("warning")) == warnings, rate


def in_first_format(data: bytes) -> bytes:
    """Accounts as version 0.1 stored them."""
    with np.load(io.BytesIO(data), allow_pickle=False) as kept:
        arrays = dict(kept)
    header = json.loads(arrays["header"].tobytes())
    assert header.pop("format") == FORMAT
    del header["limit"], header["limit_since"], header["conditional"], arrays["conditional"]
    for name, said in header["monitors"].items():  # one weight limit each
        said["longest"] = said.pop("weight_limits")[0]
        arrays[f"monitor.{name}"] = arrays[f"monitor.{name}"][0]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def accounts_of_first_format(server: Server) -> float:
    """The number of records in accounts of the first format."""
    with server.opened.database.reading() as connection:
        data = connection.execute(select(SERIES.c.accounts)).scalar_one()
    with pytest.raises(ValueError, match="earlier format"):
        Accounts.from_bytes(data)
    begin = Accounts.from_bytes(server.opened.bookkeeper.empty())
    return Accounts.from_bytes(data, begin).totals["records"]


def test_the_capital_of_accounts_of_the_first_format_goes_on(
    tmp_path: Path, cheap: CheapReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, cheap, bundled_policy, Clock(), audit_rate=RATE)
    accounts = Accounts.from_bytes(server.opened.bookkeeper.empty())
    found = Verifier(cheap, bundled_policy).judge(ANSWERS)
    bad = found.watched
    bad["flagged"][::3] = 1.0
    accounts.monitor.add(bad)
    rates = accounts.monitor.monitors
    kept = Accounts.from_bytes(
        in_first_format(accounts.to_bytes()), Accounts.from_bytes(server.opened.bookkeeper.empty())
    )
    before = float(np.exp(rates["flagged"].log_capital))
    assert before > 100
    assert np.exp(kept.monitor.log_capital) == pytest.approx(0.75 + 0.25 * before)
    assert np.exp(kept.monitor.log_best) == pytest.approx(0.75 + 0.25 * np.exp(rates["flagged"].log_best))
    assert [rate.records for rate in kept.monitor.monitors.values()] == [rate.records for rate in rates.values()]
    kept.monitor.add(bad)
    assert kept.monitor.monitors["flagged"].log_capital > rates["flagged"].log_capital
    assert Accounts.from_bytes(kept.to_bytes()).to_bytes() == kept.to_bytes()
