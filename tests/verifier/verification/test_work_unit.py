from collections.abc import Sequence
from itertools import pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recorded import RECORDED, records_of
from weightwarden.logger.record import Adapter, Record
from weightwarden.verifier.verification.work_unit import FIRST_PREFIX, WINDOW_RECORDS, WorkUnit, work_units

TEMPLATE = records_of(RECORDED[0])[0]


def asked(prompt: Sequence[int], output: int) -> Record:
    return TEMPLATE.model_copy(update={"prompt_token_ids": list(prompt), "output_token_ids": [7] * output})


def cost(unit: WorkUnit) -> int:
    """Tokens that the unit takes when each record shares what its prompt has in common with the one before."""
    total = 0
    for before, record in zip([None, *unit.records], unit.records, strict=False):
        if not record.output_token_ids:
            continue
        total += len(record.prompt_token_ids) + len(record.output_token_ids)
        if before is not None and before.output_token_ids:
            pairs = zip(record.prompt_token_ids, before.prompt_token_ids, strict=False)
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if common >= FIRST_PREFIX:
                total -= min(common, len(record.prompt_token_ids) - 1)
    return total


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200), st.integers(0, 60)), max_size=60),
    st.integers(1, 2000),
)
def test_every_record_is_in_one_unit_and_units_are_no_larger_than_asked_for(
    shapes: list[tuple[int, int, int]], unit_tokens: int
) -> None:
    records = [asked([first] * length, output) for first, length, output in shapes]
    units = list(work_units(records, unit_tokens))
    assert sorted(place for unit in units for place in unit.places) == list(range(len(records)))
    assert all(records[place] is record for unit in units for place, record in zip(*unit_of(unit), strict=True))
    assert all(cost(unit) <= unit_tokens or len(unit) == 1 for unit in units if cost(unit))
    assert [unit.places for unit in work_units(iter(records), unit_tokens)] == [unit.places for unit in units]


def unit_of(unit: WorkUnit) -> tuple[Sequence[int], Sequence[Record]]:
    return unit.places, unit.records


def test_units_of_recorded_traffic_are_full() -> None:
    records = [record for path in RECORDED for record in records_of(path)]
    units = list(work_units(records, 2048))
    full = [cost(unit) for unit in units]
    assert sum(full) / len(full) > 0.8 * 2048


def test_records_whose_prompts_begin_alike_are_in_one_unit_wherever_they_stand() -> None:
    system = [[kind] * 100 for kind in range(10)]
    records = [asked([*system[i % 10], 1000 + i], 20) for i in range(40)]  # four of each kind
    for unit in work_units(records, 1100):
        kinds = [record.prompt_token_ids[0] for record in unit.records]
        assert all(kinds.count(kind) == 4 for kind in kinds)


def test_what_is_more_than_a_unit_is_divided_by_longer_prefixes() -> None:
    records = [asked([*[5] * 100, *[i % 3] * 300, i], 5) for i in range(12)]
    units = list(work_units(records, 450))
    assert [len(unit) for unit in units] == [4, 4, 4]
    for unit in units:
        assert len({record.prompt_token_ids[100] for record in unit.records}) == 1


def test_a_long_prefix_that_many_share_fills_a_unit_once() -> None:
    records = [asked([*range(1000), 2000 + i], 20) for i in range(40)]
    assert [len(unit) for unit in work_units(records, 2000)] == [40]


def test_records_of_two_schemes_are_in_units_of_their_own() -> None:
    records = records_of(RECORDED[0])[:6] + records_of(RECORDED[1])[:6]
    for unit in work_units(records, 10_000):
        assert len({record.scheme_name for record in unit.records}) == 1


def test_units_are_made_while_records_are_read() -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while True:
            read += 1
            yield asked([1, 2, 3], 4)

    next(work_units(endless(), 2048))  # type: ignore[arg-type]
    assert read <= WINDOW_RECORDS


@pytest.mark.parametrize("size", [2, 3, 8])
def test_halves_are_the_whole(size: int) -> None:
    unit = WorkUnit(list(range(size)), [TEMPLATE] * size)
    first, second = unit.halves()
    assert [*first.places, *second.places] == unit.places
    assert len(first) > 0 < len(second)


def test_the_records_of_an_adapter_follow_each_other() -> None:
    adapters = [None, *(Adapter(name=f"a{at}", digest=f"sha256:{at:064x}") for at in range(4))]
    prompts = [[1] * 100, [2] * 80, [3] * 10]  # the same ones of every adapter
    records = [asked(prompts[at % 3], 5).model_copy(update={"adapter": adapters[at % 5]}) for at in range(5 * 3 * 4)]
    units = list(work_units(records, 1000))
    assert sorted(place for unit in units for place in unit.places) == list(range(len(records)))
    order = [record.adapter for unit in units for record in unit.records]
    changes = sum(one != other for one, other in pairwise(order))
    assert changes == len(adapters) - 1
    shared = [asked([1] * 900, 5).model_copy(update={"adapter": adapters[at]}) for at in (1, 1, 2, 2)]
    assert [list(unit.places) for unit in work_units(shared, 1000)] == [[0, 1], [2, 3]]  # no prefix is shared across
