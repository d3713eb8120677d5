"""Which archives are audited, which are kept out, and that one of these never stops the others."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from tests.verifier.server.running import KEY, ORIGIN, Log, Server, honest, server_in
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.sampler.schemes import SCHEMES
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.database.schema import ARCHIVE, QUARANTINE, TASK
from weightwarden.verifier.server.ingest.follower import MAX_TRIES, Follower
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign

RECORDS = honest(12)


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return server_in(tmp_path, replayer, bundled_policy)


@pytest.fixture
def log(tmp_path: Path, server: Server) -> Log:
    return Log(tmp_path / "archives")


def states(server: Server) -> dict[str, str]:
    """State of every archive by the file's name."""
    with server.opened.database.reading() as connection:
        return {Path(url).name: state for url, state in connection.execute(select(ARCHIVE.c.url, ARCHIVE.c.state))}


def quarantined(server: Server) -> dict[str, str]:
    """Kinds of the open entries of the quarantine by the file's name."""
    query = select(QUARANTINE.c.place, QUARANTINE.c.kind).where(QUARANTINE.c.resolved.is_(None))
    with server.opened.database.reading() as connection:
        return {Path(place).name: kind for place, kind in connection.execute(query)}


def waiting(server: Server) -> list[int]:
    """Indices of the records that wait, in the order of the audit."""
    with server.opened.database.reading() as connection:
        return list(connection.execute(select(TASK.c.index).order_by(TASK.c.position)).scalars())


def changed(record: Record, **fields: object) -> Record:
    return Record.model_validate(record.model_dump() | fields)


def test_archives_are_put_up_in_the_order_of_the_log_whatever_they_are_called(server: Server, log: Log) -> None:
    first, second = log.seal(RECORDS[:3]), log.seal(RECORDS[3:5])
    first.rename(first.with_name("z.parquet"))
    second.rename(second.with_name("a.parquet"))
    (log.folder / ".half-written.parquet").write_bytes(b"PAR1")
    assert server.opened.follower.look().checked == 2
    assert waiting(server) == [0, 1, 2, 3, 4]
    assert server.opened.follower.look().checked == 0
    assert waiting(server) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("rate", "by"), [(0.4, "records"), (1.0, "tokens")])
def test_the_audit_rate_selects_as_verify_run_does(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, rate: float, by: AuditBy
) -> None:
    from weightwarden.verifier.audit_selection import AuditDraw, select_records

    server = server_in(tmp_path, replayer, bundled_policy, audit_rate=rate, audit_by=by)
    lengths = [0, 1, 8, 40, 100, 200, 400, 600, 800, 1000, 1016, 1500] * 3
    sampling = RECORDS[0].sampling.model_dump() | {"max_tokens": 2000}
    cut = {"sampling": sampling, "finish_reason": "abort", "stop_reason": "client"}
    records = [changed(RECORDS[0], output_token_ids=[1] * length, **cut) for length in lengths]
    log = Log(tmp_path / "archives")
    log.seal(records)
    server.opened.follower.look()
    draw = AuditDraw(rate, b"a secret of the auditor's", by)
    found = waiting(server)
    assert found == list(select_records(draw, log.tree.root(), lengths))
    assert 0 < len(found) < len(records)
    with server.opened.database.reading() as connection:
        kept = connection.execute(select(ARCHIVE)).one()
    assert (kept.audit_by, kept.audit_rate, kept.selected) == (by, rate, len(found))
    assert kept.selected_tokens == sum(lengths[index] for index in found)
    prompt = len(RECORDS[0].prompt_token_ids)
    assert kept.unit_cost == pytest.approx(sum((prompt + n) * (n + 8) / 1024 for n in lengths))


def tampered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [tampered, truncated, emptied])
def test_a_damaged_archive_is_quarantined_and_audited_once_it_is_mended(
    server: Server, log: Log, damage: Callable[[Path], None]
) -> None:
    log.seal(RECORDS[:2])
    bad = log.seal(RECORDS[2:4])
    log.seal(RECORDS[4:6])
    whole = bad.read_bytes()
    damage(bad)
    server.opened.follower.look()
    assert states(server)[bad.name] == "quarantined"
    assert quarantined(server)[bad.name] == "seal"
    assert waiting(server) == [0, 1, 4, 5]
    bad.write_bytes(whole)
    server.opened.follower.look()
    assert quarantined(server) == {}
    assert waiting(server) == [0, 1, 4, 5, 2, 3]


def test_a_key_that_nobody_knows_seals_nothing(server: Server, log: Log) -> None:
    stranger = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    bad = Log(log.folder, stranger).seal(RECORDS[:2])
    server.opened.follower.look()
    assert quarantined(server) == {bad.name: "seal"}
    assert waiting(server) == []


def test_a_missing_range_is_named_until_it_comes(server: Server, log: Log, tmp_path: Path) -> None:
    log.seal(RECORDS[:2])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    missing = log.seal(RECORDS[2:4], elsewhere)
    behind = log.seal(RECORDS[4:6])
    server.opened.follower.look()
    assert states(server)[behind.name] == "auditing"  # what is there is audited all the same
    with server.opened.database.reading() as connection:
        gap = connection.execute(select(QUARANTINE).where(QUARANTINE.c.resolved.is_(None))).mappings().one()
    assert (gap["kind"], gap["origin"], gap["start"], gap["end"]) == ("gap", ORIGIN, 2, 4)
    assert "records 2 to 3 of example.org/log" in gap["what"]
    missing.rename(log.folder / missing.name)
    server.opened.follower.look()
    assert quarantined(server) == {}
    assert waiting(server) == [0, 1, 4, 5, 2, 3]


def test_what_comes_before_the_first_record_is_neither_missing_nor_audited(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, start_index=3)
    log = Log(tmp_path / "archives")
    log.skip(RECORDS[:2])
    log.seal(RECORDS[2:5])
    server.opened.follower.look()
    assert quarantined(server) == {}
    assert waiting(server) == [3, 4]


def test_a_fork_a_copy_and_a_cover_up_are_quarantined(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    second = log.seal(RECORDS[2:4])
    server.opened.follower.look()
    copy = second.with_name("copy.parquet")
    copy.write_bytes(second.read_bytes())
    other = Log(log.folder)
    other.skip(RECORDS[:2])
    fork = other.seal([RECORDS[5], RECORDS[6], RECORDS[7]])
    server.opened.follower.look()
    assert quarantined(server) == {"copy.parquet": "duplicate", fork.name: "fork"}
    rewritten = Log(log.folder)
    rewritten.skip([RECORDS[9], RECORDS[10]])
    follows = rewritten.seal(RECORDS[4:5])
    server.opened.follower.look()
    assert quarantined(server)[follows.name] == "fork"
    assert waiting(server) == [0, 1, 2, 3]


def test_an_audited_archive_that_is_written_anew_is_noticed(server: Server, log: Log) -> None:
    path = log.seal(RECORDS[:2])
    server.settle()
    whole = path.read_bytes()
    tampered(path)
    server.opened.follower.look()
    assert quarantined(server) == {path.name: "seal"}
    assert states(server)[path.name] == "audited"
    path.write_bytes(whole)
    server.opened.follower.look()
    assert quarantined(server) == {}


def test_archives_that_cannot_be_verified_here_are_quarantined_whole(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.seal(RECORDS[:2])
    model = log.seal([RECORDS[2], changed(RECORDS[3], model="another")])
    vocabulary = log.seal([RECORDS[2], changed(RECORDS[3], prompt_token_ids=[1, 60_000])])
    engine = RECORDS[4].engine.model_dump()
    scheme = log.seal([changed(RECORDS[4], engine=engine | {"sampler": "vllm-v2"})])
    version = log.seal([changed(RECORDS[4], engine=engine | {"version": "0.33.0"})])
    with monkeypatch.context() as later:
        later.setitem(SCHEMES, "vllm-v9", SCHEMES["vllm-v2"])
        unknown = log.seal([changed(RECORDS[5], engine=engine | {"sampler": "vllm-v9"}), RECORDS[6]])
    log.seal(RECORDS[6:8])
    server.opened.follower.look()
    assert quarantined(server) == {
        model.name: "model",
        vocabulary.name: "model",
        scheme.name: "scheme",
        version.name: "scheme",
        unknown.name: "record",
    }
    assert waiting(server) == [0, 1, 10, 11]
    with server.opened.database.reading() as connection:
        reasons = list(connection.execute(select(QUARANTINE.c.what)).scalars())
    assert any("record 3: model: another, not SmolLM2-135M-Instruct" in reason for reason in reasons)
    assert any("unknown sampling scheme 'vllm-v9'" in reason for reason in reasons)


def test_a_folder_that_cannot_be_read_is_trouble_and_the_others_are_followed(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    (tmp_path / "gone").mkdir()
    folders = (str(tmp_path / "gone"), str(tmp_path / "archives"))
    server = server_in(tmp_path, replayer, bundled_policy, archives=folders)
    (tmp_path / "gone").rmdir()
    Log(tmp_path / "archives").seal(RECORDS[:2])
    looked = server.opened.follower.look()
    assert looked.checked == 1
    assert "gone" in looked.troubles[0]


def test_two_logs_are_followed_beside_each_other(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    other = SigningKey("example.org/other", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    folders = (tmp_path / "archives", tmp_path / "more")
    (tmp_path / "more").mkdir()
    server = server_in(tmp_path, replayer, bundled_policy, archives=tuple(map(str, folders)))
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n{other.verifier}\n")
    server = server_in(tmp_path, replayer, bundled_policy, archives=tuple(map(str, folders)))
    Log(folders[0]).seal(RECORDS[:2])
    Log(folders[1], other).seal(RECORDS[2:5])
    server.opened.follower.look()
    assert quarantined(server) == {}
    assert waiting(server) == [0, 1, 0, 1, 2]


def test_a_check_that_was_cut_off_leaves_nothing_behind(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightwarden.verifier.server.ingest.archive_intake.PAGE_RECORDS", 2)
    log.seal(RECORDS[:7])
    follower = server.opened.follower

    class PowerCut(BaseException):
        """Nothing catches it."""

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(type(follower), "_publish", cut)
        with pytest.raises(PowerCut):
            follower.look()
    assert waiting(server) == [0, 1, 2, 3, 4, 5]  # put up, not published
    assert server.opened.auditor.work() is False
    follower.look()
    assert waiting(server) == [0, 1, 2, 3, 4, 5, 6]


def test_only_one_server_looks_at_a_time(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy, server: Server, log: Log
) -> None:
    other = server_in(tmp_path, replayer, bundled_policy, server.clock)
    log.seal(RECORDS[:2])
    assert other.opened.membership.take("follow")
    assert not server.opened.follower.look().following
    assert states(server) == {}
    other.opened.membership.give_back("follow")
    assert server.opened.follower.look().following
    assert waiting(server) == [0, 1]


def test_whatever_lies_in_a_folder_the_archives_are_followed(server: Server, log: Log) -> None:
    os.mkfifo(log.folder / "0.parquet")  # whoever opens it waits for ever
    (log.folder / "1.parquet").mkdir()
    (log.folder / "2.parquet").symlink_to("/dev/zero")
    (Path(os.fsdecode(os.fsencode(log.folder) + b"/\xff.parquet"))).write_bytes(b"x")
    (log.folder / "new\nline.parquet").write_bytes(b"x")
    for number in range(30):
        (log.folder / f"junk{number}.parquet").write_bytes(b"junk")
    log.seal(RECORDS[:2])
    server.opened.follower.look()
    assert waiting(server) == [0, 1]
    server.opened.watch.look()


def test_what_is_larger_than_an_archive_is_trouble(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, largest=1_000_000)
    with (tmp_path / "archives" / "0.parquet").open("wb") as large:
        large.truncate(1_000_001)
    Log(tmp_path / "archives").seal(RECORDS[:2])
    looked = server.opened.follower.look()
    assert looked.troubles == [f"{tmp_path}/archives/0.parquet: 1000001 bytes, more than an archive has"]
    assert waiting(server) == [0, 1]


def test_a_quarantined_file_that_is_removed_leaves_a_gap(server: Server, log: Log) -> None:
    log.seal(RECORDS[:2])
    bad = log.seal([changed(RECORDS[2], prompt_token_ids=[1, 60_000])])
    log.seal(RECORDS[4:6])
    server.opened.follower.look()
    assert quarantined(server) == {bad.name: "model"}
    bad.unlink()
    server.opened.follower.look()
    assert states(server)[bad.name] == "gone"
    assert list(quarantined(server).values()) == ["gap"]


def test_an_archive_whose_reader_never_came_back_is_left_alone_until_it_changes(server: Server, log: Log) -> None:
    bad, good = log.seal(RECORDS[:2]), log.seal(RECORDS[2:4])
    follower = server.opened.follower
    assert follower.membership.take("follow")
    follower.scanner.find()
    with server.opened.database.writing() as connection:  # as if every reader had been killed
        connection.execute(update(ARCHIVE).where(ARCHIVE.c.url == str(bad)).values(tries=MAX_TRIES))
    server.opened.follower.look()
    server.opened.follower.look()
    assert quarantined(server)[bad.name] == "unreadable"
    assert states(server)[good.name] == "auditing"
    bad.write_bytes(bad.read_bytes())
    os.utime(bad, (1, 1))
    server.opened.follower.look()
    assert states(server)[bad.name] == "auditing"


def test_a_defect_at_one_archive_does_not_stop_the_others(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.seal(RECORDS[:2])
    bad = log.seal(RECORDS[2:4])
    log.seal(RECORDS[4:6])
    follower = server.opened.follower
    check = type(follower)._check

    def broken(self: Follower, number: int, archive: Archive, design: SamplingDesign) -> None:
        if archive.start == 2:
            raise ZeroDivisionError
        check(self, number, archive, design)

    with monkeypatch.context() as patch:
        patch.setattr(type(follower), "_check", broken)
        follower.look()
    assert quarantined(server)[bad.name] == "defect"
    assert waiting(server) == [0, 1, 4, 5]
    follower.look()  # with a version that is mended
    assert quarantined(server) == {}


def test_all_archives_of_a_look_have_one_rate_which_they_keep(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy, audit_rate=None, least_rate=0.2)
    log = Log(tmp_path / "archives")
    log.seal(RECORDS[:6])
    server.opened.follower.look()
    log.seal(RECORDS[6:8])
    log.seal(RECORDS[8:10])
    server.clock.now += 100
    server.opened.membership.beat(tokens_per_second=10.0, compute_share=1.0)
    server.opened.follower.look()
    with server.opened.database.reading() as connection:
        rates = connection.execute(select(ARCHIVE.c.audit_rate).order_by(ARCHIVE.c.id)).scalars().all()
    assert rates[0] == 0.2
    assert rates[1] == rates[2]
    assert rates[1] > 0.2  # the others were saved up for (test_selection.py)
