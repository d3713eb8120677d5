from dataclasses import replace
from math import log2

import numpy as np
import pytest

from tests.places import BUNDLED_POLICY
from tests.verifier.candidates.positions import DELTA, like_recorded
from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.ledger import (
    CODED_BITS,
    PLAIN_SHARE,
    UNASKED_END_SHARE,
    Ledger,
    OutcomeCounter,
    RecordCharges,
)
from weightwarden.verifier.verification.exposure import CONFIDENCE, AuditedPopulation, Exposure

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


def test_with_every_record_audited_the_limit_is_what_was_charged() -> None:
    found = charges([100, 0, 50, 80], [2])
    exposure = Exposure.of(found, AuditedPopulation.of([100, 0, 50, 80], 4, []), policy(), VOCABULARY)
    for bound in (exposure.counting, exposure.pooled):
        assert bound.limit_bits == pytest.approx(bound.audited_bits)
    assert exposure.counting.audited_bits == pytest.approx(found.counting_bits_r.sum() + found.end_bits_r.sum())
    assert exposure.dangerous.low == exposure.dangerous.high == pytest.approx(50 / 230)
    assert exposure.entropy_bits_per_token == pytest.approx(found.entropy_bits_r.sum() / 230)


def test_limits_for_all_records_hold_over_the_draw() -> None:
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, 129, 400).tolist()
    altered = rng.choice(400, 12, replace=False).tolist()
    every = charges(tokens, altered)
    truth = Exposure.of(every, AuditedPopulation.of(tokens, 400, []), policy(), VOCABULARY)
    misses, runs = 0, 60
    for _ in range(runs):
        at = np.sort(rng.permutation(400)[:80])
        draws = rng.integers(0, 2**60, 80).tolist()
        part = RecordCharges(**{name: getattr(every, name)[at] for name in RecordCharges.__dataclass_fields__})
        found = Exposure.of(part, AuditedPopulation.of(tokens, 80, draws), policy(), VOCABULARY)
        misses += found.counting.limit_bits < truth.counting.audited_bits
        misses += found.pooled.limit_bits < truth.pooled.audited_bits
        misses += not found.dangerous.low <= truth.dangerous.value <= found.dangerous.high
        assert found.counting.limit_bits < 0.5 * sum(tokens) * log2(VOCABULARY)  # and say something
    assert misses <= most_misses(1 - CONFIDENCE, 3 * runs)


def test_audited_records_come_in_the_order_of_their_draw() -> None:
    audited = AuditedPopulation.of([5, 0, 7, 9], 3, [30, 2**64 - 1, 10])
    assert audited.order_r.tolist() == [2, 0, 1]
    assert (audited.records, audited.answered, audited.tokens, audited.longest) == (4, 3, 21, 9)
    assert not audited.complete
    assert replace(audited, order_r=np.arange(4)).complete
