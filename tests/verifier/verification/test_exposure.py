from dataclasses import replace
from math import log2

import numpy as np
import pytest

from tests.places import BUNDLED_POLICY
from tests.verifier.candidates.positions import DELTA, like_recorded
from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.ledger import (
    CODED_BITS,
    MAX_END_BITS,
    PLAIN_SHARE,
    UNASKED_END_SHARE,
    Ledger,
    OutcomeCounter,
    RecordCharges,
)
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.exposure import CONFIDENCE, Exposure
from weightwarden.verifier.verification.length_table import LengthTable

VOCABULARY = 49_152


def policy() -> Policy:
    found = read_policy(BUNDLED_POLICY)
    assert isinstance(found, Policy)
    return found


def charges(tokens: list[int], altered: list[int], ends: FloatArray | None = None) -> RecordCharges:
    """Records whose tokens are the replay's choice, but for those that are wholly outside."""
    ledger = Ledger(
        len(tokens), policy().counting_code(VOCABULARY), policy().pooled_code(VOCABULARY), has_noise_model=True
    )
    outcomes = OutcomeCounter(len(tokens), margin=DELTA, rank_limit=64, vocabulary=VOCABULARY)
    record_n = np.repeat(np.arange(len(tokens)), tokens)
    positions = like_recorded(np.random.default_rng(1), sum(tokens))
    choice = np.where(np.isin(record_n, altered), 4 + VOCABULARY - 1, 0)
    scores = positions.take(choice)
    for accumulator in (ledger, outcomes):
        accumulator.add(record_n, scores)
    return ledger.charges(outcomes.counts_rc, np.zeros(len(tokens)) if ends is None else ends)


def test_the_ledger_counts_and_no_record_is_charged_much_more_than_writing_it_plainly() -> None:
    found = charges([100, 0, 50], [2])
    assert found.tokens_r.tolist() == [100, 0, 50]
    assert found.dangerous_r.tolist() == [0, 0, 50]
    assert found.mismatches_r.tolist() == [0, 0, 50]
    plain = 50 * log2(VOCABULARY) - log2(PLAIN_SHARE)
    assert found.counting_bits_r[2] == pytest.approx(plain)
    assert found.pooled_bits_r[2] == pytest.approx(plain)
    assert found.counting_bits_r[1] == pytest.approx(CODED_BITS)
    assert found.pooled_token_bits_r[1] == 0
    assert found.counting_bits_r[0] < 30
    assert np.isfinite(found.entropy_bits_r).all()


def test_ends_as_asked_and_others_obey_kraft() -> None:
    asked, other = charges([10, 10], [], np.array([0.0, 12.0])).end_bits_r
    assert 2.0**-asked + UNASKED_END_SHARE == pytest.approx(1)
    assert 2.0**-other == pytest.approx(UNASKED_END_SHARE * 2.0**-12)


def audit(
    every: RecordCharges, audited_r: BoolArray, design: SamplingDesign, rng: np.random.Generator
) -> tuple[RecordCharges, AuditedPopulation]:
    """The charges of the drawn records, in a random order of the draw, and their population."""
    some, others = every.take(audited_r), every.take(~audited_r)
    draws = rng.integers(0, 2**60, len(some)).tolist()
    return some, AuditedPopulation.of(some.tokens_r, draws, LengthTable.of_records(others.tokens_r), design)


def test_with_every_record_audited_the_limit_is_what_was_charged() -> None:
    found = charges([100, 0, 50, 80], [2])
    exposure = Exposure.of(found, AuditedPopulation.whole([100, 0, 50, 80]), policy(), VOCABULARY)
    for bound in (exposure.counting, exposure.pooled):
        assert bound.limit.bits == pytest.approx(bound.audited_bits)
        assert bound.limit.stock_bits == 0
    assert exposure.counting.audited_bits == pytest.approx(found.counting_bits_r.sum() + found.end_bits_r.sum())
    assert exposure.dangerous.low == exposure.dangerous.high == pytest.approx(50 / 230)
    assert exposure.entropy_bits_per_token == pytest.approx(found.entropy_bits_r.sum() / 230)


@pytest.mark.parametrize("design", [SamplingDesign(0.2), SamplingDesign(1.0, "tokens")])
def test_limits_for_all_records_hold_over_the_draw(design: SamplingDesign) -> None:
    rng = np.random.default_rng(2)
    tokens = np.concatenate([rng.integers(0, 129, 390), np.full(10, 900)])
    every = charges(tokens.tolist(), [*rng.choice(390, 12, replace=False).tolist(), 391, 392])
    truth = Exposure.of(every, AuditedPopulation.whole(tokens), policy(), VOCABULARY)
    misses, runs = 0, 60
    for _ in range(runs):
        some, audited = audit(every, rng.random(400) < design.probabilities(tokens), design, rng)
        found = Exposure.of(some, audited, policy(), VOCABULARY)
        misses += found.counting.limit.bits < truth.counting.audited_bits
        misses += found.pooled.limit.bits < truth.pooled.audited_bits
        misses += not found.dangerous.low <= truth.dangerous.value <= found.dangerous.high
        misses += not found.mismatch.low <= truth.mismatch.value <= found.mismatch.high
        assert found.counting.limit.bits < 0.9 * tokens.sum() * log2(VOCABULARY)  # and say something
    assert misses <= most_misses(1 - CONFIDENCE, 4 * runs)


def test_records_that_were_not_drawn_are_limited_by_their_length_alone() -> None:
    """One long record among those that were not drawn widens the limit, and cannot be more than full."""
    every, rng = charges([100] * 60, []), np.random.default_rng(3)
    some, audited = audit(every, np.arange(60) < 50, SamplingDesign(0.8), rng)
    longer = replace(audited, unaudited=LengthTable.of({100: 9, 5000: 1}))
    narrow, wide = (
        Exposure.of(some, population, policy(), VOCABULARY).pooled.limit for population in (audited, longer)
    )
    assert wide.bits > narrow.bits
    assert wide.bits <= wide.most_bits
    assert wide.most_bits == pytest.approx(
        Exposure.of(some, audited, policy(), VOCABULARY).pooled.audited_bits
        + 5900 * log2(VOCABULARY)
        + 10 * MAX_END_BITS
    )


@pytest.mark.parametrize("design", [SamplingDesign(0.01), SamplingDesign(0.1, "tokens")])
def test_the_tokens_that_are_needed_make_the_limit_conclusive_and_half_of_them_do_not(design: SamplingDesign) -> None:
    tokens, rng = np.full(2000, 100), np.random.default_rng(4)
    every = charges(tokens.tolist(), [])
    some, audited = audit(every, rng.random(2000) < design.probability(100), design, rng)
    first = Exposure.of(some, audited, policy(), VOCABULARY).pooled.conclusiveness
    assert not first.conclusive
    for factor, conclusive in ((1.2, True), (0.4, False)):
        share = (audited.tokens_r.sum() + factor * first.tokens_needed) / tokens.sum()
        more = SamplingDesign(min(design.rate * share / design.probability(100), 1.0), design.by)
        some_more, population = audit(every, rng.random(2000) < more.probability(100), more, rng)
        found = Exposure.of(some_more, population, policy(), VOCABULARY)
        assert found.pooled.conclusiveness.conclusive is conclusive


def test_the_population_knows_its_records() -> None:
    design = SamplingDesign(0.5)
    audited = AuditedPopulation.of([5, 0, 9], [30, 2**64 - 1, 10], LengthTable.of({7: 1, 0: 2}), design)
    assert audited.order_r.tolist() == [2, 0, 1]
    assert (audited.records, audited.answered, audited.tokens, audited.longest) == (6, 3, 21, 9)
    assert audited.longest_weighted == 18
    assert not audited.complete
    assert AuditedPopulation.whole([5, 0, 9]).complete
    assert AuditedPopulation.whole([5, 0, 9]).longest_weighted == 0
