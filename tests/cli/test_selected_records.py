from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.inputs import from_archives
from cli.selected_records import Deciding
from logger.archive.errors import ArchiveRefused
from logger.keys import PublicKeys
from logger.placed import PlacedRecord
from logger.record import Record
from tests.conftest import FILTERED, records_of
from tests.verifier.server.running import KEY, Log, honest
from verifier.fitness import UnfitRecord, check_fits
from verifier.model_identity import ModelIdentity

RECORDS = honest(6)
TEMPLATE = records_of(FILTERED)[0]


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


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 30), st.integers(0, 2)), min_size=1),
    st.integers(1, 100),
    st.integers(1, 32),
)
def test_all_records_fit_where_the_deciding_ones_do(
    shapes: list[tuple[int, int, int, int]], vocabulary: int, context: int
) -> None:
    identity = ModelIdentity(
        path=Path(), digest="sha256:" + "0" * 64, vocabulary=vocabulary, context_length=context, eos_ids=()
    )
    placed = [
        PlacedRecord(
            TEMPLATE.model_copy(
                update={
                    "prompt_token_ids": [asked],
                    "output_token_ids": [said] * length,
                    "engine": TEMPLATE.engine.model_copy(update={"version": f"0.{engine}"}),
                }
            ),
            "t.jsonl",
            line,
        )
        for line, (asked, said, length, engine) in enumerate(shapes)
    ]
    deciding = Deciding()
    for item in placed:
        deciding.look(item)

    def fits(record: Record) -> bool:
        try:
            check_fits(record, identity)
        except UnfitRecord:
            return False
        return True

    assert all(fits(item.record) for item in deciding.records) == all(fits(item.record) for item in placed)
    engines = {item.record.engine.version for item in placed}
    assert len({item.record.engine.version for item in deciding.records} & engines) >= min(2, len(engines))
    assert len(deciding.records) <= 4
