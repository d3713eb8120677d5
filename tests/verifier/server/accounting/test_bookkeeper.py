"""The accounts are those of all verdicts, each once and in their order, however the work went."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from tests.verifier.server.running import Clock, Log, Server, honest, server_in, stolen
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.accounting.accounts import PER_RECORD, PER_TOKEN, Accounts
from weightwarden.verifier.server.audit.task_queue import complete, lease
from weightwarden.verifier.server.database.schema import RATE_POINT, SERIES, VERDICT
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.series_limit import SeriesLimit
from weightwarden.verifier.verification.series_monitor import SeriesMonitor
from weightwarden.verifier.verification.verifier import Verifier

RECORDS = [*honest(8), *(stolen(record) for record in honest(12)[8:])]


def accounts_of(server: Server) -> Accounts:
    with server.opened.database.reading() as connection:
        return Accounts.from_bytes(connection.execute(select(SERIES.c.accounts)).scalar_one())


def accounted(server: Server) -> int:
    with server.opened.database.reading() as connection:
        return int(connection.execute(select(SERIES.c.accounted)).scalar_one())


def test_the_accounts_are_those_of_a_run_over_the_same_records(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, database_url: str
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, database=database_url, batch_records=5)
    log = Log(tmp_path / "archives")
    log.seal(RECORDS[:7])
    server.settle()
    log.seal(RECORDS[7:])
    server.settle()
    found = Verifier(replayer, bundled_policy).judge(RECORDS)
    accounts, charges = accounts_of(server), found.charges
    assert accounts.totals == pytest.approx(
        {
            "records": 12,
            "unverifiable": 0,
            "flagged": 4,
            "early_stops": 0,
            "refusals": 0,
            "tokens": charges.tokens_r.sum(),
            "mismatches": charges.mismatches_r.sum(),
            "suspicious": charges.suspicious_r.sum(),
            "dangerous": charges.dangerous_r.sum(),
            "outside_grammar": 0,
            "outlying": sum(record.evidence.outliers > 0 for record in found.records),
            "counting_bits": charges.counting_bits_r.sum(),
            "pooled_bits": charges.pooled_token_bits_r.sum(),
            "end_bits": charges.end_bits_r.sum(),
            "entropy_bits": charges.entropy_bits_r.sum(),
        }
    )
    assert accounts.margins_b.tolist() == found.margins.tokens_rb.sum(axis=0).tolist()
    assert accounts.candidates_b.tolist() == found.margins.candidates_rb.sum(axis=0).tolist()
    once = SeriesMonitor.new(bundled_policy, float(np.log2(replayer.identity.vocabulary)), 1024)
    once.add(found.watched)
    assert accounts.monitor.log_capital == pytest.approx(once.log_capital)
    assert accounts.monitor.conditional.records == once.conditional.records == 12
    assert accounts.monitor.conditional.log_capital_ck == pytest.approx(once.conditional.log_capital_ck)
    assert accounts.monitor.p_value <= 1e-4


def test_verdicts_are_accounted_for_up_to_the_first_that_is_missing(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    clock = Clock()
    first, second = (server_in(tmp_path, replayer, bundled_policy, clock, batch_records=4) for _ in range(2))
    Log(tmp_path / "archives").seal(RECORDS)
    first.opened.follower.look()
    held = lease(first.opened.membership, 4, 10_000)
    while second.opened.auditor.work():
        pass
    assert second.opened.bookkeeper.account() == 0
    with second.opened.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(VERDICT)).scalar_one() == 8
    first.opened.auditor._audit(held)  # the server that was slow
    assert first.opened.bookkeeper.account() == 12
    assert second.opened.bookkeeper.account() == 0
    assert accounted(first) == 12


def test_the_order_of_the_work_and_its_interruptions_do_not_show(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for name, size in (("whole", 32), ("pieces", 3)):
        folder = tmp_path / name
        folder.mkdir()
        server = server_in(folder, replayer, bundled_policy, batch_records=size)
        Log(folder / "archives").seal(RECORDS)
        server.opened.follower.look()
        while server.opened.auditor.work():
            if name == "pieces":
                server.opened.bookkeeper.account()
        server.opened.bookkeeper.account()
        results.append(accounts_of(server))
    whole, pieces = results
    assert whole.totals == pytest.approx(pieces.totals)
    assert whole.monitor.p_value == pytest.approx(pieces.monitor.p_value, rel=1e-6)
    for name in (*PER_TOKEN, *PER_RECORD):
        assert astuple(whole.sequences[name].limits()) == pytest.approx(astuple(pieces.sequences[name].limits()))


def test_accounts_are_kept_as_they_are(replayer: TransformersReplayer, bundled_policy: Policy) -> None:
    bits = float(np.log2(replayer.identity.vocabulary))
    limit = SeriesLimit.new(bits, SamplingDesign(0.01), 8192)
    accounts = Accounts.new(bundled_policy, replayer.identity.vocabulary, 64, limit=limit, limit_since=7.0)
    found = Verifier(replayer, bundled_policy).judge(RECORDS[:3])
    zeros = ("outside_grammar", "unverifiable", "early_stops", "refusals", "end_bits", "entropy_bits")
    columns = found.watched | {
        "counting_bits": found.charges.counting_bits_r,
        "record_weight": np.ones(3),
        "token_weight": np.minimum(found.watched["tokens"], 64),
        **{name: np.zeros(3) for name in zeros},
    }
    accounts.add(columns, found.margins.tokens_rb.sum(axis=0), found.margins.candidates_rb.sum(axis=0))
    again = Accounts.from_bytes(accounts.to_bytes())
    assert again.to_bytes() == accounts.to_bytes()
    assert (again.totals, again.limit_since) == (accounts.totals, 7.0)
    del accounts.totals["outside_grammar"]  # as an earlier version kept them
    assert Accounts.from_bytes(accounts.to_bytes()).totals == again.totals
    assert again.sequences["mismatches"].limits() == accounts.sequences["mismatches"].limits()


def test_what_cannot_be_replayed_counts_as_flagged(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, batch_records=1)
    Log(tmp_path / "archives").seal(RECORDS[:6])
    server.opened.follower.look()
    auditor = server.opened.auditor
    while tasks := lease(server.opened.membership, 1, 1):
        complete(server.opened.membership, tasks, [auditor._unverifiable(tasks[0], "it kills every server")], [])
    server.opened.bookkeeper.account()
    accounts = accounts_of(server)
    assert accounts.totals["unverifiable"] == accounts.totals["flagged"] == 6
    assert accounts.totals["refusals"] == 0
    assert accounts.totals["tokens"] == 48
    assert accounts.totals["pooled_bits"] == pytest.approx(48 * np.log2(49_152))  # anything could be in them
    assert accounts.sequences["pooled_bits"].limits().high >= np.log2(49_152)
    assert accounts.monitor.p_value <= 1e-4


def test_points_of_the_charts_are_made_at_their_pace(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    clock = Clock()
    server = server_in(tmp_path, replayer, bundled_policy, clock)
    log = Log(tmp_path / "archives")
    for start, wait in ((0, 0.0), (2, 1.0), (4, 60.0), (6, 59.0), (8, 2.0)):
        clock.now += wait
        log.seal(RECORDS[start : start + 2])
        server.settle()
    with server.opened.database.reading() as connection:
        points = connection.execute(select(RATE_POINT.c.at).order_by(RATE_POINT.c.id)).scalars().all()
    begun = Clock().now
    assert points == [begun, begun + 61, begun + 122]


def test_what_its_request_leaves_undefined_is_charged_and_no_evidence(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    """Records that a client can have made neither stop the audit nor have an honest server accused."""
    poisoned = [
        record.model_copy(
            update={"sampling": record.sampling.model_copy(update={"allowed_token_ids": [2], "min_tokens": 8})}
        )
        for record in honest(7)[1:]
    ]
    server = server_in(tmp_path, replayer, bundled_policy)
    Log(tmp_path / "archives").seal([honest(1)[0], *poisoned])
    server.settle()
    accounts = accounts_of(server)
    assert (accounts.totals["records"], accounts.totals["unverifiable"], accounts.totals["flagged"]) == (7, 6, 0)
    assert accounts.totals["pooled_bits"] >= 48 * np.log2(49_152)
    assert accounts.monitor.p_value > 0.1
    with server.opened.database.reading() as connection:
        reasons = connection.execute(select(VERDICT.c.reasons).where(VERDICT.c.unverifiable)).scalars().all()
    assert all("sampling.allowed_token_ids" in said for said in reasons)
