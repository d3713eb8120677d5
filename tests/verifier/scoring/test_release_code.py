"""The code of release schedules: Kraft's inequality by enumeration, a decoder, and attackers who never gain."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, log2

import numpy as np
import pytest

from tests.verifier.scoring.schedule_coder import BEGIN, GO, decoded, encoded
from weightwarden.logger.record import Record
from weightwarden.logger.release import SLOTS, Pace, Release, run_lengths
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.release_code import (
    BEGINS,
    CHOICE_BITS,
    GOES_ON,
    SLOT_BITS,
    TWO_WAY_END_BITS,
    UNKNOWN_GROUP_BITS,
    pooled_slot_bits,
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


def counts(missed: Sequence[int]) -> tuple[IntArray, IntArray, IntArray]:
    return np.array(len(missed)), np.array(sum(m > 0 for m in missed)), np.array(sum(missed))


def length(missed: Sequence[int]) -> float:
    return float(tick_bits(*counts(missed)))


@pytest.mark.parametrize(("groups", "most"), [(1, 20_000), (2, 300), (3, 50), (4, 20)])
def test_lengths_of_all_underruns_obey_kraft(groups: int, most: int) -> None:
    missed_lg = np.array(list(product(range(most + 1), repeat=groups)))
    bits_l = tick_bits(np.full(len(missed_lg), groups), (missed_lg > 0).sum(axis=1), missed_lg.sum(axis=1))
    whole = float((2.0**-bits_l).sum())
    assert whole <= 1 + 1e-12
    assert whole > 0.97  # nothing is wasted: what is left has more underruns than were counted


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
            total += times * 2 ** -table(paced(13, one, [a]), paced(13, other, [b])).bits
    assert total <= 1
    assert total > 2**-CHOICE_BITS  # and the choice of the code is the only loss


def test_at_most_2_to_the_b_schedules_have_a_charge_of_b_bits() -> None:
    missed_lg = np.array(list(product(range(26), repeat=4)))
    bits_l = np.sort(tick_bits(np.full(len(missed_lg), 4), (missed_lg > 0).sum(axis=1), missed_lg.sum(axis=1)))
    assert (np.log2(np.arange(1, len(bits_l) + 1)) <= bits_l + 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_reads_the_underruns_from_the_groups_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for share in (0.0, 0.02, 0.3, 0.9):
        for groups in (1, 4, 37):
            missed = [int(m) for m in rng.geometric(1 - share, groups) - 1]
            written = encoded(missed)
            assert decoded(written + "0110" * 40, groups) == (missed, len(written))  # whatever comes after it
            assert len(written) <= ceil(length(missed)) + 1
    assert (float(BEGIN[0]), float(BEGIN[1])) == BEGINS
    assert (float(GO[0]), float(GO[1])) == GOES_ON


def test_a_calm_answer_costs_a_slot_and_a_third_of_a_bit() -> None:
    assert length([0] * 36) == pytest.approx(0.372, abs=1e-3)
    found = table(paced(290, 9))
    assert found.bits == pytest.approx(SLOT_BITS + length([0] * 36) + CHOICE_BITS)
    assert (found.ticks, found.underruns, found.state) == (36, 0, "paced")


def test_answers_that_are_not_streamed_have_a_slot_alone() -> None:
    whole = Release(pace=PACE, streamed=False, start_slot=4)
    assert table(record(400, whole)).bits == pytest.approx(SLOT_BITS + CHOICE_BITS)


@pytest.mark.parametrize(("tokens", "finish"), [(13, "abort"), (16, "abort"), (16, "stop")])
def test_an_end_that_may_leave_on_its_own_is_charged_as_a_group_and_a_bit(tokens: int, finish: str) -> None:
    """With the last group, or after it: the record does not tell them apart if no tick was missed in between."""
    found = table(paced(tokens, 3, [0, 5], finish=finish))
    assert found.bits == pytest.approx(SLOT_BITS + length([0, 5]) + TWO_WAY_END_BITS + CHOICE_BITS)
    alike = table(paced(tokens, 3, [4], finish=finish))
    assert alike.underrun_bits == pytest.approx(length([4, 0]))
    assert alike.underrun_bits >= length([4])
    assert table(paced(13, 3, [4])).bits < alike.bits


def test_lengths_with_an_end_of_two_ways_obey_kraft() -> None:
    """All schedules of an answer of one group with an end: with it, or after some missed ticks on its own."""
    charges = [table(paced(8, 3, [missed])).bits - SLOT_BITS - CHOICE_BITS for missed in range(300)]
    assert 2 ** -charges[0] + sum(2**-bits for bits in charges) <= 1


def test_an_underrun_where_no_group_should_be_is_charged_all_the_same() -> None:
    assert table(paced(13, 3, [0, 5])).bits == pytest.approx(SLOT_BITS + length([0, 5]) + CHOICE_BITS)


def test_what_a_killed_sidecar_did_not_record_is_charged_in_full() -> None:
    found = table(paced(16, None, finish="abort"))
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
    many = [paced(300, int(slot), [int(m) for m in rng.geometric(0.99, 37) - 1]) for slot in rng.integers(9, 13, 400)]
    found, other = table(*many), table(*reversed(many))
    assert found.bits == other.bits
    assert found.slot_bits < 400 * 2.4  # four slots: 2 bits, and what it takes to learn which
    assert found.slot_bits < 400 * SLOT_BITS / 2
    own = sum(table(one).underrun_bits for one in many)
    assert found.underrun_bits <= own


def attacker(rng: np.random.Generator, groups: int, kind: str) -> tuple[int, list[int], float]:
    """Start slot, underruns, and the bits that they tell a receiver who knows the attacker's code."""
    if kind == "slots":
        return int(rng.integers(SLOTS)), [0] * groups, log2(SLOTS)
    if kind == "yes or no":
        return 9, rng.integers(0, 2, groups).tolist(), float(groups)
    if kind == "long runs":
        return 9, (8 * rng.integers(0, 4, groups)).tolist(), 2.0 * groups
    if kind == "one place":
        missed = [0] * groups
        missed[int(rng.integers(groups))] = 1
        return 9, missed, log2(groups)
    return int(rng.integers(SLOTS)), rng.integers(0, 3, groups).tolist(), log2(SLOTS) + groups * log2(3)


@pytest.mark.parametrize("kind", ["slots", "yes or no", "long runs", "one place", "all at once"])
@pytest.mark.parametrize("answers", [1, 5, 60])
def test_no_attacker_sends_more_than_is_charged(kind: str, answers: int) -> None:
    """His messages are uniform, and every schedule is another message. So each charge is below the bits by more than s
    with probability at most 2^-s: 12 bits in one of 4,096 logs."""
    rng = np.random.default_rng(answers)
    for _ in range(10):
        sent = [attacker(rng, 36, kind) for _ in range(answers)]
        found = table(*(paced(290, slot, missed) for slot, missed, _ in sent))
        assert sum(bits for _, _, bits in sent) <= found.bits + 12


def test_mean_charge_is_never_below_the_entropy_of_an_attackers_code() -> None:
    """Over all schedules of a code book the mean of the charges is at least log2 of their number."""
    for book in (list(product((0, 1), repeat=8)), list(product((0, 3), (0, 1), (0, 1, 2))), [(0,), (1,)]):
        mean = float(np.mean([table(paced(8 * len(missed) + 5, 5, missed)).bits for missed in book]))
        assert mean >= log2(len(book))


def test_a_share_with_an_exact_law_is_the_lengths_probability() -> None:
    """A product of exact fractions, decision by decision."""
    missed = [0, 0, 3, 0, 1]
    probability = Fraction(1)
    yes, no = Fraction(1, 16), Fraction(1)
    more, last = Fraction(1, 2), Fraction(1, 2)
    for ticks in missed:
        probability *= (yes if ticks else no) / (yes + no)
        yes, no = yes + (ticks > 0), no + (ticks == 0)
        for left in range(ticks - 1, -1, -1):
            probability *= (more if left else last) / (more + last)
            more, last = more + (left > 0), last + (left == 0)
    assert length(missed) == pytest.approx(-log2(probability), abs=1e-9)


def test_a_longer_underrun_or_one_more_never_costs_less() -> None:
    calm = table(paced(290, 9))
    assert replace(calm, runs_u=calm.runs_u + 1, underruns_u=calm.underruns_u + 1).bits > calm.bits + 9
