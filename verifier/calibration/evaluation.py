"""Evaluation of thresholds, noise bounds and codes on held-out honest records."""

from collections.abc import Sequence

import numpy as np

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.policy.base import MadeFor, Rate
from weightwarden.verifier.policy.calibrated import CodeRates, Evaluation, Thresholds
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.noise_model import TokenNoise
from weightwarden.verifier.scoring.record_evidence import RecordEvidenceAccumulator
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens
from weightwarden.verifier.statistics.intervals import Interval, clustered_mean, clustered_rate


def evaluate(
    scored: Sequence[tuple[IntArray, TokenScores]],
    thresholds: Thresholds,
    noise: TokenNoise,
    code: CodeRates,
    made_for: MadeFor,
    vocabulary: int,
    half_r: BoolArray,
) -> Evaluation:
    """Rates and bits a token, with record-clustered intervals.

    Args:
        scored: positions, each with its record.
        half_r: records to evaluate on.
    """
    records = len(half_r)
    test = RecordEvidenceAccumulator(noise, records)
    counting, pooled = (
        code.counting_code(thresholds, made_for, vocabulary),
        code.pooled_code(thresholds, made_for, vocabulary),
    )
    sums: dict[str, FloatArray] = {}
    for record_n, scores in scored:
        verdicts = judge_tokens(scores, thresholds.margin_logits, thresholds.rank_limit, vocabulary)
        test.add(record_n, scores)
        for name, part in (
            ("tokens", np.ones(len(scores))),
            ("exact", scores.exact_n),
            ("suspicious", verdicts.verdict_n == Verdict.SUSPICIOUS),
            ("dangerous", verdicts.verdict_n == Verdict.DANGEROUS),
            ("outliers", scores.margin_n > noise.outlier_margin),
            ("charged bits", verdicts.charged_bits_n),
            ("counting bits", counting.lengths(scores)),
            ("pooled bits", pooled.lengths(scores)),
            ("entropy bits", pooled.entropies(scores)),
        ):
            np.add.at(sums.setdefault(name, np.zeros(records)), record_n, part)
    sums = {name: total[half_r] for name, total in sums.items()}
    flagged = sum(test.evidence(int(r)).p_value <= FLAG_LEVEL for r in np.flatnonzero(half_r))

    def rate(name: str) -> Rate:
        return as_rate(clustered_rate(sums[name], sums["tokens"]))

    def mean(name: str) -> Rate:
        return as_rate(clustered_mean(sums[name], sums["tokens"]))

    return Evaluation(
        records=int(half_r.sum()),
        tokens=int(sums["tokens"].sum()),
        exact_match=rate("exact"),
        suspicious=rate("suspicious"),
        dangerous=rate("dangerous"),
        outliers=rate("outliers"),
        charged_bits_per_token=mean("charged bits"),
        counting_bits_per_token=mean("counting bits"),
        pooled_bits_per_token=mean("pooled bits"),
        entropy_bits_per_token=mean("entropy bits"),
        flagged_records=int(flagged),
    )


def as_rate(interval: Interval) -> Rate:
    """An interval in the form of policies."""
    return Rate(value=interval.value, low=interval.low, high=interval.high)
