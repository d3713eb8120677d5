"""Weights that make up for the draw: rates of all records from records that were drawn by their tokens."""

import numpy as np
import pytest

from weightwarden.verifier.statistics.rates import RateSequence
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy, SamplingDesign

RNG = np.random.default_rng(7)
LENGTHS = np.minimum(RNG.lognormal(np.log(183), 1, 400_000), 4096).astype(np.int64)
SHORT = LENGTHS < 100


@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("by", AUDIT_BY)
@pytest.mark.parametrize("longest", [1, 8, 1024, 100_000])
def test_no_weight_exceeds_its_limit(rate: float, by: AuditBy, longest: int) -> None:
    design, lengths = SamplingDesign(rate, by), np.array([0, 1, 5, 1016, 5000, 10**6, 10**9])
    weights = design.token_weights(lengths, longest)
    assert weights.max() <= longest
    assert weights.min() >= 0
    assert (weights > 0).tolist() == (lengths > 0).tolist()
    assert design.record_weights(lengths).max() == 1
    drawn = design.probabilities(lengths)
    for found, wanted in ((weights, np.minimum(lengths, longest)), (design.record_weights(lengths), np.ones(7))):
        ratio = (found * drawn)[1:] / wanted[1:]  # after the draw every record counts as it is
        assert ratio == pytest.approx(ratio[0])


def test_by_records_records_and_tokens_count_as_they_are() -> None:
    design = SamplingDesign(0.3)
    assert design.record_weights(LENGTHS[:100]).tolist() == [1.0] * 100
    assert design.token_weights(LENGTHS[:100], 64).tolist() == np.minimum(LENGTHS[:100], 64).tolist()


@pytest.mark.parametrize("by", AUDIT_BY)
def test_limits_of_shares_of_all_records_hold_by_tokens_where_plain_counts_miss(by: AuditBy) -> None:
    """Short answers stop early, long ones mismatch: their shares among the drawn ones are others than among all."""
    stops, mismatches = RNG.random(len(LENGTHS)) < 0.3 * SHORT, LENGTHS * np.where(SHORT, 0.01, 0.03)
    share, rate = stops.mean(), mismatches.sum() / LENGTHS.sum()
    design = SamplingDesign(0.05, by)
    drawn = RNG.random(len(LENGTHS)) < design.probabilities(LENGTHS)
    found: dict[str, RateSequence] = {}
    weights = {
        "weighed": (design.record_weights(LENGTHS[drawn]), 1.0),
        "plain": (np.ones(drawn.sum()), 1.0),
        "tokens": (design.token_weights(LENGTHS[drawn], 4096), 4096.0),
    }
    for name, (weight_r, longest) in weights.items():
        value_r = (mismatches / LENGTHS.clip(1) if name == "tokens" else stops)[drawn] * weight_r
        found[name] = RateSequence(confidence=0.99, longest=longest)
        found[name].add(value_r, weight_r)
    limits = {name: sequence.limits() for name, sequence in found.items()}
    assert limits["weighed"].low <= share <= limits["weighed"].high < 2 * share
    assert limits["tokens"].low <= rate <= limits["tokens"].high < 1.3 * rate
    assert (limits["plain"].high < share) == (by == "tokens")
