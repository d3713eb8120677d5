from array import array
from pathlib import Path

import pytest

from tests.verifier.server.running import KEY, Log, honest
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.verification.run_input import from_archives

RECORDS = honest(6)


def test_records_of_archives_are_read_again_and_say_where_they_stand(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.skip(RECORDS[:2])
    urls = [str(log.seal(RECORDS[:4])), str(log.seal(RECORDS[4:]))]
    given = from_archives(urls[::-1], PublicKeys(KEY.verifier), None)
    for _ in range(2):
        assert list(given.records()) == RECORDS
    assert given.indices == array("q", range(2, 8))
    assert [(given.place(at).source, given.place(at).number) for at in (0, 3, 4)] == [
        (urls[0], 2),
        (urls[0], 5),
        (urls[1], 6),
    ]
    assert (given.audited.records, given.tokens) == (6, sum(len(r.output_token_ids) for r in RECORDS))
    assert given.audited.complete


def test_an_archive_that_changed_since_it_was_checked_ends_the_reading(tmp_path: Path) -> None:
    path = Log(tmp_path).seal(RECORDS[:3])
    given = from_archives([str(path)], PublicKeys(KEY.verifier), None)
    path.unlink()
    Log(tmp_path).seal([RECORDS[0], RECORDS[2], RECORDS[1]])  # as validly sealed as the first
    with pytest.raises(ArchiveRefused, match="no longer"):
        list(given.records())
