"""No encoder beats a bandwidth bound: each hides as much as it can, is decoded, and its bits are counted."""

from dataclasses import dataclass
from math import log2

import numpy as np
import pytest

from tests.places import BUNDLED_POLICY
from tests.verifier.candidates.positions import DELTA, Positions, like_recorded
from tests.verifier.statistics.budgeted_coder import BudgetedCoder, tilted
from tests.verifier.statistics.simulation import most_misses
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.scoring.ledger import PLAIN_SHARE
from weightwarden.verifier.statistics.bandwidth import combinatorial_bound, mismatch_bound, pooled_bound
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy, SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.exposure import CONFIDENCE, bits_limit
from weightwarden.verifier.verification.length_table import LengthTable

TOKENS = 12_000
LENGTH = 8_000
VOCABULARY = 49_152
LUCK = 20
"""A message that happens to be short in the encoder's code lets s bits more through with probability 2^-s."""


@dataclass(frozen=True)
class Sent:
    choice_n: IntArray
    bits: int


def send(rng: np.random.Generator, probability_nk: FloatArray, cost_nk: FloatArray, budget: float) -> Sent:
    """Hide a random message, and count what a receiver decodes of it."""
    message = int.from_bytes(rng.bytes(LENGTH // 8))
    coder = BudgetedCoder(probability_nk, cost_nk, budget)
    choice_n = coder.send(message, LENGTH)
    received = coder.receive(choice_n)
    assert received.message == message >> (LENGTH - received.bits)
    return Sent(choice_n, received.bits)


def policy() -> Policy:
    found = read_policy(BUNDLED_POLICY)
    assert isinstance(found, Policy)
    return found


def costs_of(positions: Positions) -> FloatArray:
    """-ln of the odds of every candidate, nats; inf where there is none or it is beyond the threshold."""
    code = policy().pooled_code(VOCABULARY)
    at = np.searchsorted(code.edges_b, np.nan_to_num(positions.margin_nk, nan=9.0), side="left")
    costs = -np.append(code.log_odds_c, -np.inf)[np.minimum(at, len(code.log_odds_c))]
    costs[:, 0] = 0
    return np.where(positions.margin_nk <= 1.0, costs, np.inf)


@pytest.mark.parametrize("seed", range(3))
def test_an_encoder_that_uses_every_admissible_token(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = like_recorded(rng, TOKENS)
    costs = np.where(positions.margin_nk <= DELTA, 0.0, np.inf)
    sent = send(rng, tilted(costs, 0.0), costs, 1.0)
    scores = positions.take(sent.choice_n)
    counting = float(policy().counting_code(VOCABULARY).lengths(scores).sum())
    pooled = float(policy().pooled_code(VOCABULARY).lengths(scores).sum())
    assert sent.bits - LUCK <= pooled_bound(costs, 1.0).bits <= 1.05 * sent.bits
    assert sent.bits - LUCK <= counting <= 1.05 * sent.bits
    assert sent.bits - LUCK <= pooled <= 1.5 * sent.bits  # made for encoders that are less conspicuous


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_an_encoder_that_spends_its_budget_of_implausibility_optimally(share: float, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    positions = like_recorded(rng, TOKENS)
    costs = costs_of(positions)
    honest = tilted(costs, 1.0)
    budget = share * float((honest * np.where(np.isfinite(costs), costs, 0)).sum())
    bound = pooled_bound(costs, budget)
    sent = send(rng, tilted(costs, bound.tilt), costs, budget)
    spent = costs[np.arange(TOKENS), sent.choice_n].sum()
    assert spent <= budget
    assert sent.bits - LUCK <= bound.bits <= 1.3 * sent.bits
    # What the verifier charges the very tokens that were sent, knowing neither budget nor tilt.
    charged = float(policy().pooled_code(VOCABULARY).lengths(positions.take(sent.choice_n)).sum())
    assert sent.bits - LUCK <= charged <= (1.35 if share < 0.5 else 1.1) * sent.bits


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rate", "size"), [(0.02, 2), (0.02, 3), (0.005, 64)])
def test_an_encoder_that_spends_a_budget_of_mismatches(rate: float, size: int, seed: int) -> None:
    rng = np.random.default_rng(200 + seed)
    costs = np.ones((TOKENS, size))
    costs[:, 0] = 0
    budget = int(rate * TOKENS)
    bound = pooled_bound(costs, budget)
    sent = send(rng, tilted(costs, bound.tilt), costs, budget)
    altered = int((sent.choice_n != 0).sum())
    assert altered <= budget
    exact = combinatorial_bound(TOKENS, budget, size)
    assert sent.bits - LUCK <= exact <= bound.bits <= 1.3 * sent.bits
    assert bound.bits == pytest.approx(TOKENS * mismatch_bound(rate, size), rel=1e-6)


@pytest.mark.parametrize("by", AUDIT_BY)
@pytest.mark.parametrize("gambled", [1, 20, 300])
def test_an_encoder_that_gambles_on_not_being_sampled(by: AuditBy, gambled: int) -> None:
    """It fills some of 1,000 answers with nothing but its message; the auditor sees a tenth, and bounds them all."""
    rng = np.random.default_rng(gambled)
    code = policy().pooled_code(VOCABULARY)
    exceeded, runs = 0, 100
    tokens = rng.integers(50, 129, 1000)
    design = SamplingDesign(0.1 if by == "records" else 1.0, by)
    honest = like_recorded(rng, int(tokens.sum()))
    charged_n = code.lengths(honest.take(np.zeros(int(tokens.sum()), np.int64)))
    honest_bits = np.add.reduceat(charged_n, np.concatenate([[0], np.cumsum(tokens)[:-1]]))
    for _ in range(runs):
        which = rng.choice(1000, gambled, replace=False)
        hidden = float(tokens[which].sum()) * log2(VOCABULARY)  # a digit of the message a token, read off directly
        bits = honest_bits.copy()
        bits[which] = tokens[which] * log2(VOCABULARY) - log2(PLAIN_SHARE)  # as the ledger has them
        at = rng.random(1000) < design.probabilities(tokens)
        audited = AuditedPopulation.of(tokens[at], [], LengthTable.of_records(tokens[~at]), design)
        exceeded += hidden > bits_limit(audited, bits[at], log2(VOCABULARY)).bits
    assert exceeded <= most_misses(1 - CONFIDENCE, runs)
