"""Likelihood ratios of a known deviation against the honest law, over the classes that scoring distinguishes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.codes import classes, taken_classes
from weightwarden.verifier.scoring.token_scores import TokenScores

NEAR, FAR = 0, 1
"""Kinds of tokens outside: among the rank limit of most likely tokens, or not."""
STEPS = 200
"""Iterations of a fit."""
FOLDS = 10
"""Parts of the records; each is judged by a law fitted to the others."""


@dataclass(frozen=True)
class ClassifiedTokens:
    """Claimed tokens by class: alternatives by their margin (`PooledCode`), and tokens outside, near or far.

    Attributes:
        record_n: record of each token.
        class_n: -1 is the choice; 0 ... B alternatives; B + 1 outside, among the rank limit; B + 2 outside, others.
        offered_nc: number of alternatives of each class 0 ... B at the position.
        admissible_n: size of the admissible set.
        inside_n: whether the claimed token is in it.
    """

    record_n: IntArray
    class_n: IntArray
    offered_nc: FloatArray
    admissible_n: IntArray
    inside_n: BoolArray

    @classmethod
    def of(cls, record_n: IntArray, scores: TokenScores, policy: Policy, vocabulary: int) -> Self:
        """The classes of scored tokens under a policy."""
        edges_b = policy.pooled_code(vocabulary).edges_b
        class_n, offered_nc = classes(edges_b, scores)
        far_n = (class_n == len(edges_b)) & (scores.logit_rank_n > policy.rank_limit)
        return cls(
            record_n=record_n,
            class_n=class_n + far_n,
            offered_nc=offered_nc,
            admissible_n=scores.admissible_n,
            inside_n=scores.margin_n <= policy.tolerance.margin,
        )

    @classmethod
    def concat(cls, parts: "Sequence[ClassifiedTokens]") -> Self:
        """The tokens of some parts, one part after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, which_n: BoolArray) -> Self:
        """Some of the tokens."""
        return type(self)(*(getattr(self, field.name)[which_n] for field in fields(self)))

    @property
    def outside_n(self) -> IntArray:
        """`NEAR` or `FAR` for tokens outside, -1 for others."""
        found: IntArray = np.maximum(self.class_n - self.offered_nc.shape[1], -1)
        return found


@dataclass(frozen=True)
class ClassLaw:
    """A server's law of the classes: the choice has weight 1, and every alternative its class's odds.

    Attributes:
        odds_c: odds of an alternative of each class against the choice.
        outside_2: probability, at a position, of a token outside: near, far.
    """

    odds_c: FloatArray
    outside_2: FloatArray

    @classmethod
    def fitted(cls, tokens: ClassifiedTokens) -> Self:
        """The law of greatest likelihood of some tokens. One half of an event is added, so that no odds are 0.

        The odds of a class are its events over the sum of its alternatives' shares by the odds before (the iteration of
        Hunter 2004 for the Bradley-Terry model).
        """
        inside = tokens.take(tokens.outside_n < 0)
        taken_c = taken_classes(inside.class_n, tokens.offered_nc.shape[1] - 1).sum(axis=0)
        outside_2 = np.array([(tokens.outside_n == kind).sum() for kind in (NEAR, FAR)])
        odds_c = np.ones(len(taken_c))
        for _ in range(STEPS):
            share_n = 1 / (1 + inside.offered_nc @ odds_c)
            odds_c = (taken_c + 0.5) / (share_n @ inside.offered_nc + 1)
        return cls(odds_c, (outside_2 + 0.5) / (len(tokens.class_n) + 1))

    def probability_n(self, tokens: ClassifiedTokens) -> FloatArray:
        """Probability of each claimed token, of those outside of their kind."""
        outside_n, class_n = tokens.outside_n, tokens.class_n
        weight_n = np.append(self.odds_c, 1.0)[np.where(class_n < len(self.odds_c), class_n, -1)]
        inside_n = (1 - self.outside_2.sum()) * weight_n / (1 + tokens.offered_nc @ self.odds_c)
        return np.where(outside_n >= 0, self.outside_2[np.maximum(outside_n, 0)], inside_n)


def log_ratio_n(
    deviation: Callable[[ClassifiedTokens, FloatArray], FloatArray | None],
    tokens: ClassifiedTokens,
    honest: ClassLaw,
) -> FloatArray:
    """ln of the likelihood ratio of each claimed token, nats, if the deviation is known.

    Where the law of a deviation does not follow from the honest one, it is fitted: for each of `FOLDS` parts of the
    records to the other parts, so that no token adds to the law that judges it.

    Args:
        deviation: `Deviation.probability_n`.
        tokens: claimed tokens of the deviating server.
        honest: law of an honest server.
    """
    honest_n = honest.probability_n(tokens)
    probability_n = deviation(tokens, honest_n)
    if probability_n is None:
        probability_n = np.empty(len(honest_n))
        part_n = tokens.record_n * FOLDS // (tokens.record_n.max() + 1)
        for part in range(FOLDS):
            which_n = part_n == part
            probability_n[which_n] = ClassLaw.fitted(tokens.take(~which_n)).probability_n(tokens.take(which_n))
    ratio: FloatArray = np.log(probability_n / honest_n)
    return ratio
