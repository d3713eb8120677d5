"""The code of release schedules: Kraft's inequality by enumeration, a decoder, and attackers who never gain."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, log2

import numpy as np
import pytest

from tests.verifier.scoring.schedule_coder import BEGIN, GO, decoded, encoded, place
from weightwarden.logger.record import Record
from weightwarden.logger.release import SLOTS, Pace, Release, run_lengths
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.release_code import (
    BEGINS,
    CHOICE_BITS,
    GOES_ON,
    PLACES,
    SLOT_BITS,
    TWO_WAY_END_BITS,
    UNKNOWN_GROUP_BITS,
    groups_by_place,
    pooled_slot_bits,
    runs_by_place,
    tick_bits,
)
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter, ReleaseTable

PACE = Pace(tokens=8, milliseconds=200)


def record(tokens: int, release: Release | None, finish: str = "length") -> Record:
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": "1", "sampler": "greedy"},
            "model": "m",
            "prompt_token_ids": [1],
            "output_token_ids": [2] * tokens,
            "seed": None,
            "choice_index": 0,
            "sampling": {"temperature": 0.0},
            "finish_reason": finish,
            "stop_reason": None,
            "release": release,
        }
    )


def paced(tokens: int, slot: int | None, missed: Sequence[int] = (), finish: str = "length") -> Record:
    """A streamed record; `missed` are the underruns before the second group, the third, and so on."""
    underruns = run_lengths([0, *missed])
    return record(tokens, Release(pace=PACE, streamed=True, start_slot=slot, underruns=underruns), finish)


def table(*records: Record) -> ReleaseTable:
    counter = ReleaseCounter()
    for one in records:
        counter.add(one)
    return counter.table


def tokens_of(groups: int) -> int:
    """Tokens of an answer with so many further groups, of which the last one is not full."""
    return PACE.last_token(groups) - 3


def lengths(missed_lg: IntArray) -> FloatArray:
    """Length of each list of underruns before the further groups."""
    place_g = np.array([place(1 + at) for at in range(missed_lg.shape[1])])
    in_place_gp = place_g[:, None] == np.arange(PLACES)
    return tick_bits(in_place_gp.sum(axis=0), (missed_lg > 0) @ in_place_gp.astype(np.int64), missed_lg.sum(axis=1))


def length(missed: Sequence[int]) -> float:
    return float(lengths(np.array([missed], np.int64))[0])


def test_a_group_belongs_to_the_place_of_its_number() -> None:
    for groups in (0, 1, 3, 4, 15, 16, 63, 64, 65, 300):
        numbers = range(1, 1 + groups)
        expected = np.bincount([place(number) for number in numbers], minlength=PLACES).tolist()
        assert groups_by_place(np.array([[groups]])).tolist() == [[expected]]
        assert runs_by_place(numbers).tolist() == expected


@pytest.mark.parametrize(("groups", "most"), [(1, 20_000), (2, 300), (3, 50), (4, 20), (5, 10)])
def test_lengths_of_all_underruns_obey_kraft(groups: int, most: int) -> None:
    missed_lg = np.array(list(product(range(most + 1), repeat=groups)))
    bits_l = lengths(missed_lg)
    whole = float((2.0**-bits_l).sum())
    assert whole <= 1 + 1e-12
    assert whole > 0.96  # nothing is wasted: what is left has more underruns than were counted


def test_pooled_lengths_of_all_start_slots_obey_kraft() -> None:
    found = 0.0
    for one, other in product(range(SLOTS + 1), repeat=2):
        found += 2 ** -pooled_slot_bits(np.bincount([one, other], minlength=SLOTS + 1))
    assert found == pytest.approx(1.0, abs=1e-9)
    assert pytest.approx(1.0) == (SLOTS + 1) * 2**-SLOT_BITS


def test_charges_of_all_logs_obey_kraft() -> None:
    """All logs of two answers with one further group. Logs whose slots are equal, or differ, have equal charges."""
    most, total = 60, 0.0
    for one, other, times in ((3, 3, SLOTS), (3, 4, SLOTS * (SLOTS - 1))):
        for a, b in product(range(most + 1), repeat=2):
            total += times * 2 ** -table(paced(6, one, [a]), paced(6, other, [b])).bits
    assert total <= 1
    assert total > 2**-CHOICE_BITS  # and the choice of the code is the only loss


def test_at_most_2_to_the_b_schedules_have_a_charge_of_b_bits() -> None:
    missed_lg = np.array(list(product(range(26), repeat=4)))
    bits_l = np.sort(lengths(missed_lg))
    assert (np.log2(np.arange(1, len(bits_l) + 1)) <= bits_l + 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_reads_the_underruns_from_the_groups_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for share in (0.0, 0.02, 0.3, 0.9):
        for groups in (1, 4, 37, 70):
            missed = [int(m) for m in rng.geometric(1 - share, groups) - 1]
            written = encoded(missed)
            assert decoded(written + "0110" * 40, groups) == (missed, len(written))  # whatever comes after it
            assert len(written) <= ceil(length(missed)) + 1
    assert (float(BEGIN[0]), float(BEGIN[1])) == BEGINS
    assert (float(GO[0]), float(GO[1])) == GOES_ON


def test_a_calm_answer_costs_a_slot_and_less_than_a_bit() -> None:
    assert length([0] * 36) == pytest.approx(0.761, abs=1e-3)
    found = table(paced(tokens_of(36), 9))
    assert found.bits == pytest.approx(SLOT_BITS + length([0] * 36) + CHOICE_BITS)
    assert (found.ticks, found.underruns, found.state) == (36, 0, "paced")


def test_answers_that_are_not_streamed_have_a_slot_alone() -> None:
    whole = Release(pace=PACE, streamed=False, start_slot=4)
    assert table(record(400, whole)).bits == pytest.approx(SLOT_BITS + CHOICE_BITS)


@pytest.mark.parametrize(("tokens", "finish"), [(6, "abort"), (9, "abort"), (9, "stop")])
def test_an_end_that_may_leave_on_its_own_is_charged_as_a_group_and_a_bit(tokens: int, finish: str) -> None:
    """With the last group, or after it: the record does not tell them apart if no tick was missed in between."""
    found = table(paced(tokens, 3, [0, 5], finish=finish))
    assert found.bits == pytest.approx(SLOT_BITS + length([0, 5]) + TWO_WAY_END_BITS + CHOICE_BITS)
    alike = table(paced(tokens, 3, [4], finish=finish))
    assert alike.underrun_bits == pytest.approx(length([4, 0]))
    assert alike.underrun_bits >= length([4])
    assert table(paced(6, 3, [4])).bits < alike.bits


def test_lengths_with_an_end_of_two_ways_obey_kraft() -> None:
    """All schedules of an answer of one group with an end: with it, or after some missed ticks on its own."""
    charges = [table(paced(1, 3, [missed])).bits - SLOT_BITS - CHOICE_BITS for missed in range(300)]
    assert 2 ** -charges[0] + sum(2**-bits for bits in charges) <= 1


def test_an_underrun_where_no_group_should_be_is_charged_all_the_same() -> None:
    assert table(paced(6, 3, [0, 5])).bits == pytest.approx(SLOT_BITS + length([0, 5]) + CHOICE_BITS)


def test_what_a_killed_sidecar_did_not_record_is_charged_in_full() -> None:
    found = table(paced(9, None, finish="abort"))
    assert found.bits == pytest.approx(2 * SLOT_BITS + 2 * UNKNOWN_GROUP_BITS + TWO_WAY_END_BITS + CHOICE_BITS)
    nothing = table(paced(0, None, finish="abort"))
    assert nothing.bits == pytest.approx(2 * SLOT_BITS + UNKNOWN_GROUP_BITS + TWO_WAY_END_BITS + CHOICE_BITS)
    # A start slot or none, and fewer than 2^16 missed ticks before each group: no more than the charge allows.
    groups = 2
    assert log2(SLOTS * 2 ** (16 * groups) + 1) <= SLOT_BITS + groups * UNKNOWN_GROUP_BITS


def test_records_without_a_release_are_open() -> None:
    assert table(record(8, None)).state == "open"
    assert table(record(8, None)).bits == 0
    both = table(record(8, None), paced(8, 3))
    assert (both.state, both.open_records, both.records, both.tokens) == ("partly open", 1, 1, 8)


def test_the_order_of_records_does_not_matter_and_many_share_their_slots() -> None:
    rng = np.random.default_rng(1)
    many = [
        paced(tokens_of(37), int(slot), [int(m) for m in rng.geometric(0.99, 37) - 1])
        for slot in rng.integers(9, 13, 400)
    ]
    found, other = table(*many), table(*reversed(many))
    assert found.bits == other.bits
    assert found.slot_bits < 400 * 2.4  # four slots: 2 bits, and what it takes to learn which
    assert found.slot_bits < 400 * SLOT_BITS / 2
    own = sum(table(one).underrun_bits for one in many)
    assert found.underrun_bits <= own


def test_underruns_at_the_beginning_cost_less_than_under_one_law_of_all_places() -> None:
    rng = np.random.default_rng(2)
    shares = np.r_[np.full(3, 0.3), np.full(67, 0.002)]
    found = table(*(paced(tokens_of(70), 9, (rng.random(70) < shares).astype(int).tolist()) for _ in range(200)))
    assert found.underruns > 100
    whole = (np.array([found.ticks - found.underruns, 0, 0, 0]), np.array([found.underruns, 0, 0, 0]))
    assert found.underrun_bits < 0.75 * float(tick_bits(*whole, np.array(found.underruns)))


def attacker(rng: np.random.Generator, groups: int, kind: str) -> tuple[int, list[int], float]:
    """Start slot, underruns, and the bits that they tell a receiver who knows the attacker's code."""
    if kind == "slots":
        return int(rng.integers(SLOTS)), [0] * groups, log2(SLOTS)
    if kind == "yes or no":
        return 9, rng.integers(0, 2, groups).tolist(), float(groups)
    if kind == "long runs":
        return 9, (8 * rng.integers(0, 4, groups)).tolist(), 2.0 * groups
    if kind in ("beginning", "late"):
        missed = [0] * groups
        some = slice(0, 3) if kind == "beginning" else slice(groups - 6, groups)
        missed[some] = rng.integers(0, 2, len(missed[some])).tolist()
        return 9, missed, float(len(missed[some]))
    if kind == "one group":
        missed = [0] * groups
        missed[int(rng.integers(groups))] = 1
        return 9, missed, log2(groups)
    return int(rng.integers(SLOTS)), rng.integers(0, 3, groups).tolist(), log2(SLOTS) + groups * log2(3)


@pytest.mark.parametrize("kind", ["slots", "yes or no", "long runs", "one group", "beginning", "late", "all at once"])
@pytest.mark.parametrize("answers", [1, 5, 60])
@pytest.mark.parametrize("groups", [36, 70])
def test_no_attacker_sends_more_than_is_charged(kind: str, answers: int, groups: int) -> None:
    """His messages are uniform, and every schedule is another message. So each charge is below the bits by more than s
    with probability at most 2^-s: 12 bits in one of 4,096 logs."""
    rng = np.random.default_rng(answers)
    for _ in range(10):
        sent = [attacker(rng, groups, kind) for _ in range(answers)]
        found = table(*(paced(tokens_of(groups), slot, missed) for slot, missed, _ in sent))
        assert sum(bits for _, _, bits in sent) <= found.bits + 12


def test_mean_charge_is_never_below_the_entropy_of_an_attackers_code() -> None:
    """Over all schedules of a code book the mean of the charges is at least log2 of their number."""
    for book in (list(product((0, 1), repeat=8)), list(product((0, 3), (0, 1), (0, 1, 2))), [(0,), (1,)]):
        mean = float(np.mean([table(paced(tokens_of(len(missed)), 5, missed)).bits for missed in book]))
        assert mean >= log2(len(book))


def test_a_share_with_an_exact_law_is_the_lengths_probability() -> None:
    """A product of exact fractions, decision by decision."""
    missed = [0, 0, 3, 0, 1, *[0] * 10, 2, *[0] * 50, 1, 1]
    probability = Fraction(1)
    begins = [(Fraction(1, 16), Fraction(1))] * 4
    more, last = Fraction(1, 2), Fraction(1, 2)
    for group, ticks in enumerate(missed, 1):
        yes, no = begins[place(group)]
        probability *= (yes if ticks else no) / (yes + no)
        begins[place(group)] = yes + (ticks > 0), no + (ticks == 0)
        for left in range(ticks - 1, -1, -1):
            probability *= (more if left else last) / (more + last)
            more, last = more + (left > 0), last + (left == 0)
    assert length(missed) == pytest.approx(-log2(probability), abs=1e-9)


def test_a_longer_underrun_or_one_more_never_costs_less() -> None:
    calm = table(paced(tokens_of(70), 9))
    for one in np.eye(PLACES, dtype=np.int64):
        assert replace(calm, runs_up=calm.runs_up + one, underruns_u=calm.underruns_u + 1).bits > calm.bits + 6
