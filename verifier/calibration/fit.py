"""Calibration: thresholds and token noise from one half of honest traffic, their evaluation from the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.schemes import scheme
from weightwarden.verifier.calibration.evaluation import evaluate
from weightwarden.verifier.calibration.growth import TrafficGrowth, traffic_growth
from weightwarden.verifier.calibration.honest_noise import NoiseCounts, cdf_noise_scale, code_rates
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.calibration.threshold_choice import WINDOW, choose_thresholds
from weightwarden.verifier.calibration.traffic import (
    check_grammars,
    check_refused,
    made_for_traffic,
    scores_of,
    split_halves,
)
from weightwarden.verifier.calibration.traffic_warnings import DangerousSeen, traffic_warnings
from weightwarden.verifier.candidates.inverse_cdf import margin_limit
from weightwarden.verifier.policy.calibrated import FORMAT, Calibration, NoiseBounds, Policy, Thresholds
from weightwarden.verifier.replay.replay import Replay, Replayer
from weightwarden.verifier.scoring.noise_model import fit_noise_scale
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweepPoint
from weightwarden.verifier.scoring.token_scores import score


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """The policy, and the trade-off table of the calibration half at the chosen slacks.

    Attributes:
        dangerous: rate of dangerous tokens on the half that chose the threshold.
        growth: growth of a test with this and with more honest traffic.
    """

    policy: Policy
    trade_off: list[ThresholdSweepPoint]
    chosen: ThresholdSweepPoint
    dangerous: DangerousSeen
    growth: list[TrafficGrowth]
    warnings: list[str]


def calibrate(
    replayer: Replayer,
    records: Sequence[Record],
    limits: CalibrationLimits,
    *,
    traffic_digests: Sequence[str] = (),
    unlisted_engine: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CalibrationResult:
    """Make a policy from honest traffic.

    1. Check that the records are of one engine and scheme, and split them; choices of one request stay together.
    2. Replay all records once, keeping every candidate that any threshold tried could need.
    3. On the first half, try every pair of slacks and every threshold. Among those within the limits, take the one that
       leaves an attacker least information.
    4. On the same half, count the token noise under those slacks.
    5. On the other half, evaluate the policy.
    6. Count the token noise on both halves, which bounds it more tightly; the thresholds stay. Compute what more
       traffic would give.

    Raises:
        CalibrationError: the traffic is mixed, has too few records, or no threshold is within the limits.
    """
    # 1
    made_for = made_for_traffic(replayer, records, unlisted_engine=unlisted_engine)
    half_r = split_halves(records, limits.split_seed)

    # 2
    vocabulary, replay = replayer.identity.vocabulary, Replay(replayer, WINDOW, progress)
    placed = list(replay.tables(records))
    check_refused(replay)
    for part in placed:
        check_grammars(part, vocabulary)

    # 3
    tolerance, level, chosen, table = choose_thresholds(
        placed, half_r, limits, vocabulary, margin_limit(made_for.scheme)
    )

    # 4
    scored = [(p, score(p.table, tolerance, level)) for p in placed]
    first = [scores_of(p, s, half_r) for p, s in scored]
    # A better drafter takes more of the alternatives that drafts allow: nothing bounds their share.
    bounded = not scheme(made_for.scheme).speculates
    noise = NoiseCounts.of(first, half_r).noise(bounded=bounded)
    scale = fit_noise_scale([s for _, s in first])
    thresholds = Thresholds(
        margin_logits=tolerance.margin,
        logit_slack_logits=tolerance.logit_slack,
        mass_slack=tolerance.mass_slack,
        rank_limit=chosen.rank_limit,
        noise_scale_logits=scale,
        noise_scale_cdf=cdf_noise_scale(placed, half_r) if made_for.scheme == "inverse-cdf" else None,
    )
    code = code_rates([s for _, s in first], thresholds, made_for.scheme)

    # 5
    second = [scores_of(p, s, ~half_r) for p, s in scored]
    evaluation = evaluate(second, thresholds, noise, code, made_for, vocabulary, ~half_r)
    # 6
    counts = NoiseCounts.of([(p.record_n, s) for p, s in scored], np.ones(len(records), np.bool_))
    both = counts.noise(noise.outlier_margin, bounded=bounded)
    policy = Policy(
        format=FORMAT,
        made_for=made_for,
        thresholds=thresholds,
        noise=NoiseBounds(
            margin_edges_logits=both.edges_b.tolist(),
            chosen_upper=both.upper_b.tolist(),
            outlier_margin_logits=both.outlier_margin,
            outlier_upper=both.outlier_upper,
            boundary_upper=both.boundary_upper,
        ),
        code=code,
        calibration=Calibration(
            records=int(half_r.sum()),
            tokens=sum(int(half_r[p.record_n].sum()) for p in placed),
            split_seed=limits.split_seed,
            max_dangerous_rate=limits.max_dangerous_rate,
            max_unsafe_rate=limits.max_unsafe_rate,
            traffic=list(traffic_digests),
        ),
        evaluation=evaluation,
    )
    seen = DangerousSeen.of(first, thresholds, half_r)
    warnings = [*seen.warnings(limits.max_dangerous_rate), *traffic_warnings(records, half_r, both, evaluation)]
    return CalibrationResult(
        policy=policy,
        trade_off=table,
        chosen=chosen,
        dangerous=seen,
        growth=traffic_growth([s for _, s in scored], counts, both, thresholds.margin_logits),
        warnings=warnings,
    )
