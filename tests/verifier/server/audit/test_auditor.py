"""Every selected record gets its verdict once: whoever dies, stalls, or is given a record that cannot be replayed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.verifier.server.running import Clock, Log, Server, honest, server_in, stolen
from weightwarden.logger.record import Record
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.audit.stored_evidence import unpack
from weightwarden.verifier.server.audit.task_queue import MAX_ATTEMPTS, lease
from weightwarden.verifier.server.database.schema import ARCHIVE, EVIDENCE, TASK, VERDICT
from weightwarden.verifier.server.errors import ReplayTrouble, VerdictsUnusable
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.verifier import Verifier

RECORDS = honest(8)


@pytest.fixture
def two(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, database_url: str
) -> tuple[Server, Server]:
    """Two servers on one database, with a sealed archive of eight records before them."""
    clock = Clock()
    servers = [
        server_in(tmp_path, replayer, bundled_policy, clock, database=database_url, batch_records=4) for _ in range(2)
    ]
    Log(tmp_path / "archives").seal(RECORDS)
    servers[0].opened.follower.look()
    return servers[0], servers[1]


def verdicts(server: Server) -> list[int]:
    """Indices of the records with a verdict, in the order of the audit."""
    with server.opened.database.reading() as connection:
        return list(connection.execute(select(VERDICT.c["index"]).order_by(VERDICT.c.position)).scalars())


def sees_none(server: Server) -> None:
    """Let a server see no sign of life of the others for longer than they may give none."""
    with server.opened.database.reading() as connection:
        server.opened.membership.living(connection)
    server.monotonic.now += server.opened.settings.lease_timeout


def test_two_servers_share_the_work_and_do_nothing_twice(two: tuple[Server, Server]) -> None:
    first, second = two
    mine = lease(first.opened.membership, 4, 10_000)
    theirs = lease(second.opened.membership, 8, 10_000)
    assert [task.index for task in mine] == [0, 1, 2, 3]
    assert [task.index for task in theirs] == [4, 5, 6, 7]


def test_a_lease_holds_as_much_as_its_budget_and_a_long_record_comes_alone(two: tuple[Server, Server]) -> None:
    first, second = two
    cost = sum(len(r.prompt_token_ids) + len(r.output_token_ids) for r in RECORDS[:3])
    assert [task.index for task in lease(first.opened.membership, 8, cost)] == [0, 1, 2]
    assert [task.index for task in lease(second.opened.membership, 8, 1)] == [3]


def test_the_work_of_a_server_that_gives_no_sign_of_life_is_taken_over_and_its_late_verdicts_are_refused(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    judge = Verifier.judge

    def stalled(verifier: Verifier, records: Sequence[Record]) -> Judgement:
        found = judge(verifier, records)
        with monkeypatch.context() as awake:
            awake.setattr(Verifier, "judge", judge)
            sees_none(second)
            assert second.opened.auditor.work()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "judge", stalled)
        assert first.opened.auditor.work()
    assert first.events("lease lost")
    assert verdicts(second) == [0]  # what one server left behind comes alone
    while second.opened.auditor.work():
        pass
    assert verdicts(second) == list(range(8))


def test_verdicts_that_cannot_be_written_leave_the_records_as_they_were(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two

    def full(*_: Any) -> None:
        raise VerdictsUnusable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("weightwarden.verifier.server.audit.auditor.complete", full)
        patch.setattr("weightwarden.verifier.server.audit.auditor.give_back", full)
        with pytest.raises(VerdictsUnusable):
            first.opened.auditor.work()
    assert verdicts(first) == []
    first.settle()
    assert verdicts(first) == list(range(8))
    with first.opened.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(TASK)).scalar_one() == 0
        assert connection.execute(select(ARCHIVE.c.state)).scalar_one() == "audited"


def test_the_database_itself_takes_no_second_verdict_of_a_record(two: tuple[Server, Server]) -> None:
    first, _ = two
    first.settle()
    with first.opened.database.reading() as connection:
        row = dict(connection.execute(select(VERDICT).limit(1)).mappings().one())
    for again in (row, row | {"position": 1000}):
        with pytest.raises(VerdictsUnusable) as caught, first.opened.database.writing() as connection:
            connection.execute(insert(VERDICT).values(**again))
        assert isinstance(caught.value.__cause__, IntegrityError)


def broken_at(index: int, error: Callable[[], Exception]) -> Callable[[Verifier, Sequence[Record]], Judgement]:
    """A verifier that fails at one record."""
    judge = Verifier.judge

    def broken(verifier: Verifier, records: Sequence[Record]) -> Judgement:
        if any(record == RECORDS[index] for record in records):
            raise error()
        return judge(verifier, records)

    return broken


def at_once(server: Server) -> None:
    """Let what was put off be tried now."""
    with server.opened.database.writing() as connection:
        connection.execute(update(TASK).values(due=0.0))


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ReplayServerError("the prompt is too long for it")])
def test_a_record_that_alone_cannot_be_replayed_is_tried_later_and_set_aside_and_the_others_are_audited(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, _ = two
    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "judge", broken_at(0, lambda: error))
        while first.opened.auditor.work():
            pass
        assert sorted(verdicts(first)) == list(range(1, 8))  # nobody waited for it
        for attempt in range(MAX_ATTEMPTS - 1):
            assert not first.opened.auditor.work(), attempt  # not yet
            at_once(first)
            assert first.opened.auditor.work()
    assert verdicts(first) == list(range(8))
    with first.opened.database.reading() as connection:
        row = connection.execute(select(VERDICT).where(VERDICT.c.unverifiable)).mappings().one()
    assert row["index"] == 0
    assert row["flagged"]
    assert row["pooled_bits"] > 8 * 15  # anything could be in it
    assert "cannot be replayed: " in row["reasons"]


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), ReplayServerError("it is gone")])
def test_when_nothing_can_be_replayed_no_record_is_to_blame(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, _ = two
    assert first.opened.auditor.work()  # four records while all is well

    def broken(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "judge", broken)
        for _ in range(MAX_ATTEMPTS + 2):
            with pytest.raises(ReplayTrouble, match="nothing can be replayed"):
                first.opened.auditor.work()
    first.settle()
    assert verdicts(first) == list(range(8))
    with first.opened.database.reading() as connection:
        assert connection.execute(select(func.count()).where(VERDICT.c.unverifiable)).scalar_one() == 0


def test_a_replay_that_never_worked_blames_no_record(
    two: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two

    def broken(*_: Any) -> None:
        raise RuntimeError("no kernel image is available")

    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "judge", broken)
        for _ in range(MAX_ATTEMPTS + 2):
            with pytest.raises(ReplayTrouble):
                first.opened.auditor.work()
    first.settle()
    assert verdicts(first) == list(range(8))


def test_a_record_that_kills_its_servers_is_tried_alone_and_then_set_aside(two: tuple[Server, Server]) -> None:
    first, _ = two
    alone = []
    for _ in range(MAX_ATTEMPTS):
        alone.append(len(lease(first.opened.membership, 4, 10_000)))  # and left, as by SIGKILL
        with first.opened.database.writing() as connection:
            others = TASK.c["index"] > 0
            connection.execute(update(TASK).where(others).values(owner=None, attempts=0))
    assert alone == [4, 1, 1, 1, 1]
    first.settle()
    assert verdicts(first) == list(range(8))
    with first.opened.database.reading() as connection:
        row = connection.execute(select(VERDICT).where(VERDICT.c.unverifiable)).mappings().one()
    assert row["index"] == 0
    assert "5 servers ended while they did" in row["reasons"]


def test_evidence_is_kept_of_what_is_not_safe_and_of_nothing_else(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy)
    records = [RECORDS[0], stolen(RECORDS[1]), RECORDS[2]]
    Log(tmp_path / "archives").seal(records)
    server.settle()
    with server.opened.database.reading() as connection:
        rows = connection.execute(select(EVIDENCE)).mappings().all()
        flagged = connection.execute(select(VERDICT.c.position).where(VERDICT.c.flagged)).scalars().all()
    assert [row["position"] for row in rows] == flagged == [1]
    evidence = unpack(rows[0]["payload"], rows[0]["tokens"])
    assert evidence.record == records[1]
    assert [token["verdict"] for token in evidence.tokens[:4]] == ["safe"] * 4
    wrong = next(token for token in evidence.tokens if token["verdict"] == "dangerous")
    assert wrong["alternatives"]  # what an honest server would have said
    assert all(margin <= bundled_policy.tolerance.margin for _, margin in wrong["alternatives"])


def test_a_share_of_the_machine_is_a_share_of_its_time(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    rested: list[float] = []
    server = server_in(tmp_path, replayer, bundled_policy, audit_rate=None, compute_share=0.1, least_rate=1.0)
    auditor = server.opened.auditor
    auditor.sleep = rested.append
    Log(tmp_path / "archives").seal(RECORDS)
    server.opened.follower.look()
    assert auditor.work()
    assert rested == [pytest.approx(9 * auditor.replay_seconds)]
