"""Budgeted admissible-set coding against the pooled test: alternatives at the rate of honest noise."""

import numpy as np

from benchmarks.attackers.admissible_set import GUARD, admissible
from benchmarks.attackers.coded_tokens import CodedTokens
from benchmarks.attackers.serving import Step
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.calibrated import Policy


def honest_odds(step: Step, policy: Policy) -> FloatArray:
    """Weights of candidates [b, k]: the odds with which honest noise takes them, 1 for the replay's choice."""
    code = policy.pooled_code(step.ids_bk.max() + 1)
    bin_bk = np.searchsorted(code.edges_b, step.margin_bk, side="left")
    odds_bk = np.exp(np.append(code.log_odds_c, -np.inf)[np.minimum(bin_bk, len(code.log_odds_c))])
    odds_bk = np.where(step.ids_bk == step.honest_b[:, None], 1.0, odds_bk)
    weights: FloatArray = odds_bk * admissible(step, GUARD * float(code.edges_b[-1]))
    return weights


class Budgeted(CodedTokens):
    """Coding of alternatives by their honest odds.

    No rate rises much above an honest server's, and the capacity is the entropy of honest noise.
    """

    on_replica = True

    @property
    def name(self) -> str:
        return "budgeted admissible-set coding"

    def offer(self, step: Step, policy: Policy) -> FloatArray:
        return honest_odds(step, policy)
