from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.recorded import FILTERED, records_of
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.record import Record
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
