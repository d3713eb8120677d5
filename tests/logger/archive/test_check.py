import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.logger.archive.examples import (
    ENTRIES,
    KEY,
    KEYS,
    ORIGIN,
    archived,
    certified,
    checkpoint_at,
    entry,
    tree_of,
)
from tests.places import DATA
from weightwarden.logger.archive.check import LogCheck, NothingToCheck, OtherLog, check_archives
from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier

Change = Callable[[list[bytes]], list[bytes]]


def kinds(found: LogCheck) -> list[str]:
    return [finding.kind for finding in found.findings]


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    """Three consecutive archives of one log."""
    return [archived(tmp_path / f"{a}", a, b) for a, b in ((0, 13), (13, 14), (14, 40))]


def test_consecutive_archives_hold_in_any_order(three: list[str]) -> None:
    for urls in (three, three[::-1], [three[1], three[2], three[0]]):
        found = check_archives(urls, KEYS)
        assert found.holds
        assert found.records == 40
        assert found.newest == checkpoint_at(40)


def test_every_record_is_told_with_its_index(three: list[str]) -> None:
    told: list[tuple[int, bytes]] = []
    check_archives(three, KEYS, keep=lambda archive, index, data: told.append((index, data)))
    assert told == list(enumerate(ENTRIES))


def test_every_single_byte_change_of_an_archive_is_found(tmp_path: Path) -> None:
    url = archived(tmp_path / "a", 0, 3)
    whole = Path(url).read_bytes()
    assert check_archives([url], KEYS).holds
    for at in range(len(whole)):
        Path(url).write_bytes(whole[:at] + bytes([whole[at] ^ (1 + at % 255)]) + whole[at + 1 :])
        assert kinds(check_archives([url], KEYS)) == ["seal"]


def test_changed_bytes_of_an_archive_of_recorded_traffic_are_found(tmp_path: Path) -> None:
    rng = random.Random(0)
    recorded = [encode_record(p.record) for path in sorted(DATA.glob("*.jsonl")) for p in read_traffic(path)]
    url = archived(tmp_path / "a", 0, len(recorded), recorded)
    whole = bytearray(Path(url).read_bytes())
    assert len(whole) > 40_000
    for _ in range(2000):
        at, flip = rng.randrange(len(whole)), rng.randrange(1, 256)
        whole[at] ^= flip
        Path(url).write_bytes(whole)
        assert kinds(check_archives([url], KEYS)) == ["seal"]
        whole[at] ^= flip


def test_every_single_byte_change_of_an_archive_with_two_seals_is_found(tmp_path: Path) -> None:
    new = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"n" * 32))
    url = str(tmp_path / "a")
    write_archive(url, ENTRIES[:3], Frontier(), certified, ORIGIN, [KEY, new])
    whole = Path(url).read_bytes()
    both = PublicKeys(KEY.verifier, new.verifier)
    assert check_archives([url], both).holds
    assert check_archives([url], KEYS).holds
    for at in range(len(whole)):
        Path(url).write_bytes(whole[:at] + bytes([whole[at] ^ (1 + at % 255)]) + whole[at + 1 :])
        assert kinds(check_archives([url], both)) == ["seal"]


def test_a_failing_disk_is_an_error_and_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = archived(tmp_path / "a", 0, 3)

    def failing(*arguments: object) -> object:
        raise OSError(5, "Input/output error")

    for where in ("weightwarden.logger.archive.reader.open_seal", "weightwarden.logger.archive.reader.pq.ParquetFile"):
        with monkeypatch.context() as patched:
            patched.setattr(where, failing)
            with pytest.raises(ArchiveUnreadable, match="Input/output error"):
                check_archives([url], KEYS)


def test_every_truncation_and_appended_bytes_are_found(tmp_path: Path) -> None:
    url = archived(tmp_path / "a", 0, 3)
    whole = Path(url).read_bytes()
    for length in (*range(0, 40), *range(40, len(whole), 97)):
        Path(url).write_bytes(whole[:length])
        assert kinds(check_archives([url], KEYS)) == ["seal"]
    for tail in (b"x", whole[-8:], whole):
        Path(url).write_bytes(whole + tail)
        assert kinds(check_archives([url], KEYS)) == ["seal"]


CHANGES: dict[str, Change] = {
    "removed at the start": lambda e: e[1:],
    "removed": lambda e: e[:20] + e[21:],
    "removed at the end": lambda e: e[:-1],
    "swapped": lambda e: [*e[:20], e[21], e[20], *e[22:]],
    "duplicated": lambda e: [*e[:20], e[19], *e[20:]],
    "inserted": lambda e: [*e[:20], entry(999), *e[20:]],
    "appended": lambda e: [*e, entry(999)],
    "replaced": lambda e: [*e[:20], entry(999), *e[21:]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_records_are_found_even_where_the_seal_was_made_anew(tmp_path: Path, change: Change) -> None:
    # The attacker has a process seal what he likes, but has no checkpoint for it.
    url = str(tmp_path / "a")
    write_archive(
        url, change(ENTRIES), Frontier(), lambda n, root: certified(40, tree_of(ENTRIES).root()), ORIGIN, [KEY]
    )
    assert kinds(check_archives([url], KEYS)) == ["root"]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_history_that_was_signed_anew_is_found_by_the_seen_checkpoint(tmp_path: Path, change: Change) -> None:
    # The attacker has the signing key.
    entries = change(ENTRIES)
    url = archived(tmp_path / "a", 0, len(entries), entries)
    assert check_archives([url], KEYS).holds
    checked = check_archives([url], KEYS, seen=checkpoint_at(40))
    if entries[:40] == ENTRIES:
        assert checked.holds
    else:
        assert kinds(checked) in (["fork"], ["rollback"])


def test_a_fork_between_archives_is_found(tmp_path: Path) -> None:
    forked = [*ENTRIES[:10], entry(999), *ENTRIES[11:]]
    ours = archived(tmp_path / "a", 0, 13)
    for start, end in ((13, 40), (13, 14)):
        theirs = archived(tmp_path / "b", start, end, forked)
        assert check_archives([theirs], KEYS, partial=True).holds
        assert kinds(check_archives([ours, theirs], KEYS)) == ["fork"]


def test_two_archives_of_one_range_are_a_fork_or_a_duplicate(tmp_path: Path) -> None:
    ours = archived(tmp_path / "a", 0, 13)
    same = archived(tmp_path / "b", 0, 13)
    forked = archived(tmp_path / "c", 0, 13, [*ENTRIES[:10], entry(999), *ENTRIES[11:]])
    longer = archived(tmp_path / "d", 0, 40)
    inside = archived(tmp_path / "e", 5, 9)
    assert kinds(check_archives([ours, same], KEYS)) == ["duplicate"]
    assert kinds(check_archives([ours, ours], KEYS)) == ["duplicate"]
    assert kinds(check_archives([ours, forked], KEYS)) == ["fork", "duplicate"]
    assert kinds(check_archives([ours, longer], KEYS)) == ["duplicate"]
    assert kinds(check_archives([forked, longer], KEYS)) == ["fork", "duplicate"]
    assert kinds(check_archives([longer, inside], KEYS)) == ["duplicate"]


def test_a_missing_archive_is_a_gap(three: list[str]) -> None:
    assert kinds(check_archives([three[0], three[2]], KEYS)) == ["gap"]
    assert kinds(check_archives(three[1:], KEYS)) == ["gap"]
    assert "records 13 to 13" in check_archives([three[0], three[2]], KEYS).findings[0].what


def test_archives_may_go_on_from_the_seen_checkpoint(three: list[str]) -> None:
    for size in range(13, 41):
        assert check_archives(three[1:], KEYS, seen=checkpoint_at(size)).holds
    for size in range(13):
        assert kinds(check_archives(three[1:], KEYS, seen=checkpoint_at(size))) == ["gap"]


def test_a_rolled_back_log_is_found_by_the_seen_checkpoint(three: list[str]) -> None:
    assert check_archives(three[:2], KEYS).holds
    assert check_archives(three[:2], KEYS, seen=checkpoint_at(14)).holds
    assert kinds(check_archives(three[:2], KEYS, seen=checkpoint_at(15))) == ["rollback"]


def test_a_seen_checkpoint_of_another_history_is_a_fork_at_every_size(three: list[str]) -> None:
    other = [entry(999), *ENTRIES[1:]]
    for size in range(1, 41):
        assert kinds(check_archives(three, KEYS, seen=checkpoint_at(size, other)))[0] == "fork"


def test_a_wrong_key_is_found(tmp_path: Path, three: list[str]) -> None:
    stranger = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32))
    assert set(kinds(check_archives(three, PublicKeys(stranger.verifier)))) == {"seal"}
    theirs = archived(tmp_path / "x", 13, 40, key=stranger)
    found = check_archives([three[0], theirs], KEYS)
    assert kinds(found) == ["seal"]
    assert found.newest == checkpoint_at(13)


def test_keys_rotate_between_archives(tmp_path: Path, three: list[str]) -> None:
    new = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"n" * 32))
    later = archived(tmp_path / "x", 13, 40, key=new)
    assert check_archives([three[0], later], PublicKeys(KEY.verifier, new.verifier)).holds


def test_the_seal_and_the_checkpoint_are_not_taken_for_each_other(tmp_path: Path) -> None:
    other = SigningKey("another/log", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    url = str(tmp_path / "a")
    write_archive(url, ENTRIES, Frontier(), certified, other.name, [other])
    found = check_archives([url], PublicKeys(KEY.verifier, other.verifier))
    assert kinds(found) == ["seal"]
    assert "two logs" in found.findings[0].what


def test_archives_of_two_logs_are_refused(tmp_path: Path, three: list[str]) -> None:
    other = SigningKey("another/log", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    theirs = archived(tmp_path / "x", 13, 40, key=other)
    with pytest.raises(OtherLog, match=re.escape("another/log, example.org/log")):
        check_archives([three[0], theirs], PublicKeys(KEY.verifier, other.verifier))
    with pytest.raises(OtherLog):
        check_archives(three, KEYS, seen=Checkpoint("another/log", 1, tree_of(ENTRIES[:1]).root()))


def test_nothing_to_check_is_an_error_and_so_is_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NothingToCheck):
        check_archives([], KEYS)
    for url in (str(tmp_path / "missing"), str(tmp_path), "nosuchscheme://x/y"):
        with pytest.raises(ArchiveUnreadable):
            check_archives([url], KEYS)


def test_an_archive_that_changes_between_opening_and_reading_is_found(tmp_path: Path) -> None:
    ours = archived(tmp_path / "a", 0, 13)
    theirs = archived(tmp_path / "b", 0, 13, [*ENTRIES[:10], entry(999), *ENTRIES[11:]])
    late = archived(tmp_path / "c", 13, 40)

    def swap(archive: Archive, index: int, data: bytes) -> None:
        if index == 12 and archive.url == ours:
            Path(late).write_bytes(Path(theirs).read_bytes())

    assert kinds(check_archives([ours, late], KEYS, keep=swap)) == ["root"]


def test_more_archives_than_file_handles_are_checked(tmp_path: Path) -> None:
    urls = [archived(tmp_path / f"{i}", i, i + 1) for i in range(40)]
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    most = 0

    def count(records: int) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))  # noqa: PTH208

    assert check_archives(urls, KEYS, progress=count).holds
    assert most <= opened + 2
