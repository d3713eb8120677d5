from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.logger.model.small_adapter import write_adapter
from tests.recorded import FILTERED, records_of
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.logger.record import Adapter, Record
from weightwarden.verifier.model.compatibility import UnfitRecord, check_fits
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.verification.boundary_records import BoundaryRecords

TEMPLATE = records_of(FILTERED)[0]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 30), st.integers(0, 2)), min_size=1),
    st.integers(1, 100),
    st.integers(1, 32),
)
def test_all_records_fit_where_the_boundary_ones_do(
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
    boundary = BoundaryRecords()
    for item in placed:
        boundary.add(item)

    def fits(record: Record) -> bool:
        try:
            check_fits(record, identity)
        except UnfitRecord:
            return False
        return True

    assert all(fits(item.record) for item in boundary.records) == all(fits(item.record) for item in placed)
    engines = {item.record.engine.version for item in placed}
    assert len({item.record.engine.version for item in boundary.records} & engines) >= min(2, len(engines))
    assert len(boundary.records) <= 6


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1))
def test_two_profiles_and_a_drawn_record_are_kept_where_there_are_any(kinds: list[tuple[int, bool]]) -> None:
    boundary = BoundaryRecords()
    for line, (profile, drawn) in enumerate(kinds):
        engine = TEMPLATE.engine.model_copy(update={"profile": (None, "a", "b")[profile]})
        sampling = TEMPLATE.sampling.model_copy(update={"temperature": float(drawn)})
        boundary.add(PlacedRecord(TEMPLATE.model_copy(update={"engine": engine, "sampling": sampling}), "t", line))
    profiles = {item.record.engine.profile for item in boundary.records}
    assert len(profiles) == min(2, len({profile for profile, _ in kinds}))
    assert any(not item.record.sampling.is_greedy for item in boundary.records) == any(drawn for _, drawn in kinds)


def test_every_adapter_has_a_record_on_the_boundary() -> None:
    adapters = [None, *(Adapter(name=f"a{at}", digest=f"sha256:{at:064x}") for at in range(5))]
    boundary = BoundaryRecords()
    for line in range(60):
        record = TEMPLATE.model_copy(update={"adapter": adapters[line % 6]})
        boundary.add(PlacedRecord(record, "t.jsonl", line))
    assert {one.record.adapter.name for one in boundary.records if one.record.adapter} == {f"a{at}" for at in range(5)}
    assert len(boundary.records) <= 6 + 5


def test_a_record_whose_adapter_was_not_given_does_not_fit(tmp_path: Path) -> None:
    files = AdapterFiles.read("tone", write_adapter(tmp_path / "tone"))
    identity = ModelIdentity(
        path=Path(), digest="sha256:" + "0" * 64, vocabulary=99_999, context_length=9999, eos_ids=()
    )
    record = TEMPLATE.model_copy(update={"adapter": files.of_record()})
    with pytest.raises(UnfitRecord, match=rf"tone \({files.digest}\) was not given: --adapter tone=FOLDER"):
        check_fits(record, identity)
    check_fits(record, replace(identity, adapters={files.digest: files}))
    renamed = Adapter(name="another name", digest=files.digest)  # the digest decides
    check_fits(record.model_copy(update={"adapter": renamed}), replace(identity, adapters={files.digest: files}))
