"""Codes for output tokens: the charge of each token in bits, so that no choice of tokens carries more than its charge.

At every position a code gives each token of the vocabulary a length in bits, and the lengths obey Kraft's inequality,
sum over tokens of 2^-length <= 1. A record's length is the sum over its tokens; at most 2^B outputs of a prompt and
seed have a length of B or less (`verifier.statistics.bandwidth`). The charge of docs/design.md, section 6, log2|A|,
log2 R or log2 V, is not a code length: it leaves out that an attacker also chooses *where* a token is suspicious or
dangerous. Both codes here charge for that.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.table import Standing
from weightwarden.verifier.scoring.noise_model import boundary_counts, margin_bins, one_hot, rival_counts
from weightwarden.verifier.scoring.token_scores import TokenScores

CodeName = Literal["counting", "pooled"]
OPEN_SHARE = 1e-3
"""Expected share of tokens of unknown logit at open positions, when the replay server reports only some logits."""
AGAINST_SHARE = 1e-3
"""Expected share of tokens that the engine drew again although scoring excludes them."""


@dataclass(frozen=True, kw_only=True)
class OutsideCode:
    """Code of the tokens outside of a code's sets: the fact that the token is outside, and its identity.

    The tokens of a position, whatever the claimed token, are of five kinds, and each kind has its share: known tokens
    that could have been drawn; tokens of unknown logit that could have been drawn, all charged alike; a token that the
    engine drew against scoring; the likely tokens among all others; and the rest.

    Attributes:
        near: expected share of tokens outside that are among the `rank_limit` most likely, in (0, 1).
        far: expected share of tokens outside beyond the rank limit, in (0, 1).
        open: expected share of tokens of unknown logit, where one might be the choice; 0 if the replay knows every
            logit.
        against: expected share of tokens that the engine drew in a second request although scoring excludes them; 0 if
            the engine is never asked.
        rank_limit: R, tokens.
        vocabulary: V, tokens.
    """

    near: float
    far: float
    open: float
    against: float
    rank_limit: int
    vocabulary: int

    def lengths(
        self, scores: TokenScores, outside_n: BoolArray, inside_bits_n: FloatArray, margin: float
    ) -> FloatArray:
        """Bits [n] of all tokens, from the bits of the known tokens inside.

        Tokens that contradict the replay are outside, whatever their margin. Where scoring left a position open and the
        engine's draw was observed, only the drawn token is inside.

        Args:
            margin: logits within which tokens are inside.
        """
        near, far = float(np.log2(self.rank_limit / self.near)), float(np.log2(self.vocabulary / self.far))
        escaped_n = np.where(scores.logit_rank_n <= self.rank_limit, near, far)
        unseen_n = (scores.unseen_margin_nu <= margin).sum(axis=1)  # nan is not
        claimed_n = scores.standing_n == Standing.CLAIMED
        outside_n = outside_n | scores.contradicted_n
        open_n = (unseen_n > 0) | (claimed_n & ~outside_n)
        if not self.open:
            outside_n = outside_n | open_n
        known = 1 - self.near - self.far - self.against
        share_n = np.where(open_n, known - self.open, known)
        lengths_n = inside_bits_n - np.log2(share_n)
        if self.open:
            lengths_n = np.where(claimed_n, np.log2((unseen_n + 1) / self.open), lengths_n)
        lengths_n = np.where(outside_n, escaped_n, lengths_n)
        lengths_n = np.where(scores.standing_n == Standing.DRAWN, -np.log2(known), lengths_n)
        if self.against:
            lengths_n = np.where(scores.standing_n == Standing.DRAWN_AGAINST, -np.log2(self.against), lengths_n)
        return lengths_n


@dataclass(frozen=True, kw_only=True)
class CountingCode:
    """Code with equal lengths for all tokens of the admissible set: the counting bound.

    Attributes:
        margin: the tolerance delta with which the sets were counted, logits.
        escape: code of the tokens outside the admissible set.
    """

    margin: float
    escape: OutsideCode

    def lengths(self, scores: TokenScores) -> FloatArray:
        """Bits [n] charged for the claimed tokens."""
        known_n = scores.admissible_n - scores.unseen_n
        return self.escape.lengths(scores, scores.margin_n > self.margin, np.log2(known_n), self.margin)


@dataclass(frozen=True, kw_only=True)
class PooledCode:
    """Code of alternatives by an honest server's odds to take them: the pooled (free-energy) bound.

    The replay's own choice has weight 1, an alternative of class c weight odds_c, and a token's length is -log2 of its
    weight's share of all weights at its position. The sum is the free-energy bound with cost -ln odds and lambda 1 at
    the observed total cost. The tilt lambda is fixed: any other would be a bound, too, and on honest traffic, from
    which the odds come, a longer one. Class 0 is the *boundary* (`boundary_counts`), classes 1 ... B are the bins of
    the margin.

    Attributes:
        edges_b: bin edges, logits.
        log_odds_c: ln of the odds of each class against the choice, nats, at most 0, not rising with the margin. The
            lengths are a bound whatever the odds, and short near the true odds.
        escape: code of the tokens outside the bins.
    """

    edges_b: FloatArray
    log_odds_c: FloatArray
    escape: OutsideCode

    def lengths(self, scores: TokenScores) -> FloatArray:
        """Bits [n] charged for the claimed tokens."""
        class_n, offered_nc = classes(self.edges_b, scores)
        log_weight_c = np.append(self.log_odds_c, 0.0)  # the last, index -1: the choice itself
        outside = class_n >= len(self.log_odds_c)
        own = log_weight_c[np.where(outside, -1, class_n)]
        bits = (np.log1p(offered_nc @ np.exp(self.log_odds_c)) - own) / np.log(2)
        return self.escape.lengths(scores, outside, bits, float(self.edges_b[-1]))

    def entropies(self, scores: TokenScores) -> FloatArray:
        """Entropy [n] of an honest server's choice among the known tokens, bits, if the odds are the truth."""
        _, offered_nc = classes(self.edges_b, scores)
        odds_c = np.exp(self.log_odds_c)
        total = 1 + offered_nc @ odds_c
        entropy: FloatArray = (np.log(total) - (offered_nc @ (odds_c * self.log_odds_c)) / total) / np.log(2)
        return entropy


def classes(edges_b: FloatArray, scores: TokenScores) -> tuple[IntArray, FloatArray]:
    """Classes of the claimed tokens, and numbers of their known alternatives (`PooledCode`).

    Returns:
        The class [n] of the claimed token: -1 is the choice itself, B + 1 is outside. The number of alternatives of
            each class [n, B + 1] at its position, the claimed one included.
    """
    bins = len(edges_b) - 1
    boundary_n, taken_n = boundary_counts(scores)
    class_n = np.where(scores.exact_n, -1, np.where(taken_n, 0, margin_bins(scores.margin_n, edges_b) + 1))
    offered_nc = taken_classes(class_n, bins)
    offered_nc[:, 1:] += rival_counts(scores.rival_margin_nk, edges_b)[:, :bins]
    offered_nc[:, 0] = boundary_n
    return class_n, offered_nc


def taken_classes(class_n: IntArray, bins: int) -> FloatArray:
    """Float64 [n, B + 1], one in the class of each claimed token that is an alternative."""
    return one_hot(np.where(class_n <= bins, class_n, -1), bins + 1)
