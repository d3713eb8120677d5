"""Verdicts of tokens, and the information that each could have carried unseen."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.scoring.token_scores import TokenScores


class Verdict(IntEnum):
    """Verdict of one token, in ascending order of severity.

    `SAFE`: in the admissible set. `SUSPICIOUS`: outside it, and among the `rank_limit` most likely tokens. `DANGEROUS`:
    neither; any token of the vocabulary could be in its place.
    """

    SAFE = 0
    SUSPICIOUS = 1
    DANGEROUS = 2


@dataclass(frozen=True, kw_only=True)
class TokenVerdicts(Columns):
    """Verdicts of n positions.

    Attributes:
        verdict_n: int8 values of `Verdict`.
        charged_bits_n: information charged, bits: log2 of the admissible set, the rank limit, or the vocabulary.
        outside_grammar_n: whether the request's grammar excludes the token. It is dangerous then.
    """

    verdict_n: NDArray[np.int8]
    charged_bits_n: FloatArray
    outside_grammar_n: BoolArray


def judge_tokens(scores: TokenScores, margin: float, rank_limit: int, vocabulary: int) -> TokenVerdicts:
    """Verdicts of scored tokens (docs/design.md, section 6).

    Args:
        margin: delta, logits; must be the value with which `scores.admissible_n` was counted.
        rank_limit: R; the largest raw-logit rank at which a token beyond delta is only suspicious.
        vocabulary: V, tokens.
    """
    safe = scores.margin_n <= margin
    near = scores.logit_rank_n <= rank_limit
    verdict = np.where(safe, Verdict.SAFE, np.where(near, Verdict.SUSPICIOUS, Verdict.DANGEROUS)).astype(np.int8)
    charged = np.where(safe, np.log2(scores.admissible_n), np.where(near, np.log2(rank_limit), np.log2(vocabulary)))
    return TokenVerdicts(verdict_n=verdict, charged_bits_n=charged, outside_grammar_n=scores.logit_rank_n > vocabulary)
