from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, certified, entry, tree_of
from tests.logger.store.examples import disarmed, raw_sql
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.companion import companion_url, read_companion
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.resealing import ResealRefused, reseal
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import AnotherArchive, seal
from weightwarden.logger.store.errors import LogCorrupt, LogLocked
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import leaf_hash

ENDS = (13, 20, 31)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "archives").mkdir()
    return str(tmp_path / "archives")


@pytest.fixture
def log(log_url: str, folder: str) -> str:
    """A log of three archives, the second of which is lost."""
    with LogWriter.open(log_url, origin=ORIGIN) as writer:
        for start, end in zip((0, *ENDS), ENDS, strict=False):
            for at in range(start, end):
                writer.append(ENTRIES[at], RequestStamp("r", at)).result(60)
            seal(log_url, folder, [KEY])
    lost = Path(folder) / "000000000013-000000000020.parquet"
    lost.unlink()
    Path(companion_url(str(lost))).unlink()
    return log_url


def test_a_lost_archive_is_written_anew_with_its_companion(log: str, folder: str) -> None:
    assert [one.kind for one in check_archives(archive_urls([folder]), KEYS).findings] == ["gap"]
    sealed = reseal(log, folder, [KEY], 15)
    assert (sealed.start, sealed.end) == (13, 20)
    told: list[bytes] = []
    assert check_archives(archive_urls([folder]), KEYS, keep=lambda _, at, one: told.append(one)).holds
    assert told == ENTRIES[:31]
    companion = read_companion(sealed.url, KEYS)
    assert companion is not None
    assert [index for index, _ in companion.stamps()] == list(range(13, 20))
    with pytest.raises(AnotherArchive):
        reseal(log, folder, [KEY], 15)


def test_it_may_bear_the_signature_of_a_newer_key_too(log: str, folder: str) -> None:
    new = SigningKey.generate(ORIGIN)
    with pytest.raises(ResealRefused, match="give the key of its time too"):
        reseal(log, folder, [new], 15)
    reseal(log, folder, [KEY, new], 15)
    assert check_archives(archive_urls([folder]), KEYS).holds


def test_what_left_the_database_or_was_never_sealed_is_refused(log: str, folder: str) -> None:
    reseal(log, folder, [KEY], 15)
    roll_over(log, [folder], KEYS, keep=1)
    (Path(folder) / "000000000013-000000000020.parquet").unlink()
    with pytest.raises(ResealRefused, match="restore the archive from a copy"):
        reseal(log, folder, [KEY], 19)
    with pytest.raises(ResealRefused, match="no archive held it"):
        reseal(log, folder, [KEY], 31)


def test_one_process_seals_at_a_time(log: str, folder: str) -> None:
    with SealBook(log), pytest.raises(LogLocked):
        reseal(log, folder, [KEY], 15)


@pytest.mark.parametrize("signed_anew", [False, True])
def test_other_records_are_not_sealed_under_the_old_checkpoint(log: str, folder: str, signed_anew: bool) -> None:
    """The owner of the database rewrites a record, and even the checkpoint, which only the log's key can sign."""
    disarmed(log)
    forged = [*ENTRIES[:15], entry(900), *ENTRIES[16:20]]
    raw_sql(
        log,
        'UPDATE entry SET payload = :payload, leaf_hash = :leaf WHERE "index" = 15',
        payload=forged[15],
        leaf=leaf_hash(forged[15]),
    )
    if signed_anew:
        note = certified(20, tree_of(forged).root(), SigningKey.generate(ORIGIN))
        raw_sql(log, "UPDATE checkpoint SET note = :note WHERE size = 20", note=note)
    with pytest.raises(ResealRefused if signed_anew else LogCorrupt):
        reseal(log, folder, [KEY], 15)
    assert not (Path(folder) / "000000000013-000000000020.parquet").exists()
