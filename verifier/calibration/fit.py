"""Calibration: thresholds and token noise from one half of honest traffic, what they do from the other."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from weightwarden.logger.record import Record
from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.calibration.evaluation import evaluate
from weightwarden.verifier.candidates.inverse_cdf import margin_limit
from weightwarden.verifier.candidates.table import Window
from weightwarden.verifier.errors import CalibrationError
from weightwarden.verifier.policy.base import MadeFor
from weightwarden.verifier.policy.calibrated import (
    FORMAT,
    Calibration,
    CodeRates,
    Evaluation,
    NoiseBounds,
    Policy,
    Thresholds,
    code_edges,
)
from weightwarden.verifier.replay.replay import PlacedTable, Replay, Replayer
from weightwarden.verifier.scoring.codes import classes, taken_classes
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.scoring.noise_model import (
    MARGIN_EDGES,
    TokenNoise,
    fit_noise_scale,
    noise_counts,
)
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweep, ThresholdSweepPoint, fits
from weightwarden.verifier.scoring.token_scores import TokenScores, Tolerance, inverse_transform_likelihood_score, score
from weightwarden.verifier.statistics.intervals import clustered_rate

LOGIT_SLACKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
MASS_SLACKS = (0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03)
TYPICAL_MASS_SLACK = 0.006
"""Taken where the traffic has no top-p to tell."""
WINDOW = Window(margin=MARGIN_EDGES[-1], logit_slacks=LOGIT_SLACKS, mass_slack=MASS_SLACKS[-1])
MIN_RECORDS = 8
ENOUGH = 3.7
"""-ln 0.025: so many events are expected where the chance of none is 2.5%."""
MIN_ENTROPY = 0.005
"""Bits a token; greedy traffic, which has least, has 0.04."""


@dataclass(frozen=True, kw_only=True)
class CalibrationLimits:
    """What honest traffic may look like under the policy, on the half that chooses it.

    Attributes:
        max_dangerous_rate: largest share of honest tokens judged dangerous, or beyond all token noise.
        max_unsafe_rate: largest share of honest tokens beyond the threshold (suspicious or dangerous).
        split_seed: seed of the split into halves.
    """

    max_dangerous_rate: float = 1e-4
    max_unsafe_rate: float = 1e-3
    split_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DangerousSeen:
    """What honest tokens show of the rate of dangerous ones: how many there were, and how many there may be.

    Attributes:
        count: dangerous tokens. tokens: honest tokens looked at.
        upper: upper 97.5% confidence limit of the rate, records as clusters.
    """

    count: int
    tokens: int
    upper: float

    @classmethod
    def of(
        cls, half: Sequence[tuple[IntArray, TokenScores]], thresholds: Thresholds, half_r: BoolArray
    ) -> "DangerousSeen":
        """Of the records of a half."""
        dangerous_r, tokens_r = np.zeros(len(half_r)), np.zeros(len(half_r))
        for record_n, scores in half:
            far = (scores.margin_n > thresholds.margin_logits) & (scores.logit_rank_n > thresholds.rank_limit)
            np.add.at(dangerous_r, record_n, far)
            np.add.at(tokens_r, record_n, 1)
        upper = clustered_rate(dangerous_r[half_r], tokens_r[half_r]).high
        return cls(count=int(dangerous_r.sum()), tokens=int(tokens_r.sum()), upper=upper)

    def __str__(self) -> str:
        return f"{self.count} of {self.tokens} tokens seen, at most {self.upper:.2g}"

    def warnings(self, wanted: float) -> list[str]:
        """What to say where these tokens do not show that the rate is as small as wanted."""
        if self.upper <= wanted or not wanted:
            return []
        return [
            f"dangerous: {self}; that it is at most {wanted:g}, {ENOUGH / wanted:.0f} tokens a half would show of which"
            " none is"
        ]


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """The policy, and the trade-off table of the calibration half at the chosen slacks.

    Attributes:
        dangerous: what the half that chose the threshold shows of the rate of dangerous tokens.
    """

    policy: Policy
    trade_off: list[ThresholdSweepPoint]
    chosen: ThresholdSweepPoint
    dangerous: DangerousSeen
    warnings: list[str]


def calibrate(
    replayer: Replayer,
    records: Sequence[Record],
    limits: CalibrationLimits,
    *,
    traffic_digests: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> CalibrationResult:
    """Make a policy from honest traffic.

    1. Check that the records are of one engine and scheme, and split them; choices of one request stay together.
    2. Replay everything once, keeping every candidate that any threshold tried could need.
    3. On the first half, try every pair of slacks and every threshold; of those within the limits, take the one that
       leaves an attacker least information.
    4. On the same half, count the token noise under those slacks.
    5. On the other half, measure what the policy does.
    6. Count the token noise on both halves, which bounds it more tightly; the thresholds stay.

    Raises:
        CalibrationError: mixed traffic, too few records, or no threshold within the limits.
    """
    # 1
    made_for = made_for_traffic(replayer, records)
    half_r = split_halves(records, limits.split_seed)

    # 2
    placed = list(Replay(replayer, WINDOW, progress).tables(records))

    # 3
    vocabulary = replayer.identity.vocabulary
    tolerance, level, chosen, table = _choose_thresholds(
        placed, half_r, limits, vocabulary, margin_limit(made_for.scheme)
    )

    # 4
    scored = [(p, score(p.table, tolerance, level)) for p in placed]
    first = [_rows(p, s, half_r) for p, s in scored]
    noise = _token_noise(first, half_r)
    scale = fit_noise_scale([s for _, s in first])
    thresholds = Thresholds(
        margin_logits=tolerance.margin,
        logit_slack_logits=tolerance.logit_slack,
        mass_slack=tolerance.mass_slack,
        rank_limit=chosen.rank_limit,
        noise_scale_logits=scale,
        noise_scale_cdf=_cdf_noise_scale(placed, half_r) if made_for.scheme == "inverse-cdf" else None,
    )
    code = _code_rates([s for _, s in first], thresholds, made_for.scheme)

    # 5
    second = [_rows(p, s, ~half_r) for p, s in scored]
    evaluation = evaluate(second, thresholds, noise, code, made_for, vocabulary, ~half_r)
    # 6
    both = _token_noise([(p.record_n, s) for p, s in scored], np.ones(len(records), np.bool_), noise.outlier_margin)
    policy = Policy(
        format=FORMAT,
        made_for=made_for,
        thresholds=thresholds,
        noise=NoiseBounds(
            margin_edges_logits=both.edges_b.tolist(),
            chosen_upper=both.upper_b.tolist(),
            outlier_margin_logits=both.outlier_margin,
            outlier_upper=both.outlier_upper,
        ),
        code=code,
        calibration=Calibration(
            records=int(half_r.sum()),
            tokens=sum(len(r.output_token_ids) for r, first_half in zip(records, half_r, strict=True) if first_half),
            split_seed=limits.split_seed,
            max_dangerous_rate=limits.max_dangerous_rate,
            max_unsafe_rate=limits.max_unsafe_rate,
            traffic=list(traffic_digests),
        ),
        evaluation=evaluation,
    )
    seen = DangerousSeen.of(first, thresholds, half_r)
    warnings = [*seen.warnings(limits.max_dangerous_rate), *_warnings(records, half_r, both, evaluation)]
    return CalibrationResult(policy=policy, trade_off=table, chosen=chosen, dangerous=seen, warnings=warnings)


def split_halves(records: Sequence[Record], seed: int) -> BoolArray:
    """Which records choose the thresholds, bool [records]; choices of one request are never split.

    Raises:
        CalibrationError: too few records for two halves.
    """
    requests: dict[tuple[object, ...], list[int]] = {}
    for index, record in enumerate(records):
        requests.setdefault((record.seed, tuple(record.prompt_token_ids)), []).append(index)
    if len(records) < MIN_RECORDS or len(requests) < MIN_RECORDS // 2:
        raise CalibrationError(f"{len(records)} records are too few to calibrate on; at least {MIN_RECORDS} are needed")
    groups = list(requests.values())
    half = np.zeros(len(records), np.bool_)
    order = np.random.default_rng(seed).permutation(len(groups))
    for group in order[: (len(groups) + 1) // 2]:
        half[groups[group]] = True
    return half


def made_for_traffic(replayer: Replayer, records: Sequence[Record]) -> MadeFor:
    """What a policy made from this traffic on this replayer holds for.

    Raises:
        CalibrationError: the records are not all of one engine, version and scheme, or one has no definite answer.
    """
    for index, record in enumerate(records):
        undefined = undefined_field(record.sampling, replayer.identity.eos_ids, replayer.identity.vocabulary)
        if undefined is not None:
            raise CalibrationError(f"record {index}: sampling.{undefined[0]}: {undefined[1]}; leave it out")
    engines = {(r.engine.name, r.engine.version, r.engine.sampler) for r in records}
    if len(engines) != 1:
        listed = "; ".join(" ".join(engine) for engine in sorted(engines)) or "none"
        raise CalibrationError(f"the traffic must be of one engine, version and scheme; found: {listed}")
    name, version, scheme = engines.pop()
    return MadeFor(
        model_digest=replayer.identity.digest,
        engine=name,
        engine_version=version,
        scheme=scheme,
        replay=replayer.implementation,
        dtype=replayer.dtype,
        known_answer=replayer.known_answer(),
    )


def _choose_thresholds(
    placed: Sequence[PlacedTable], half_r: BoolArray, limits: CalibrationLimits, vocabulary: int, max_margin: float
) -> tuple[Tolerance, int, ThresholdSweepPoint, list[ThresholdSweepPoint]]:
    """The slacks and the threshold that leave least information, and the trade-off table at those slacks."""
    best: tuple[tuple[float, ...], Tolerance, int, ThresholdSweepPoint, list[ThresholdSweepPoint]] | None = None
    for (level, logit_slack), mass_slack in itertools.product(enumerate(LOGIT_SLACKS), MASS_SLACKS):
        trade_off = ThresholdSweep(vocabulary, len(half_r))
        tolerance = Tolerance(margin=MARGIN_EDGES[-1], logit_slack=logit_slack, mass_slack=mass_slack)
        for p in placed:
            trade_off.add(*_rows(p, score(p.table, tolerance, level), half_r))
        points = [p for p in trade_off.best_points(limits.max_dangerous_rate) if p.margin <= max_margin]
        for point in points:
            # A cut is crossed by the noise that swaps two candidates: its slack is never below the threshold.
            if logit_slack < point.margin or not fits(point, limits.max_dangerous_rate, limits.max_unsafe_rate):
                continue
            # Equal where the traffic has no such filter: then slacks that the threshold itself suggests.
            rank = (
                round(point.bits_per_token, 9),
                abs(logit_slack - point.margin),
                abs(mass_slack - TYPICAL_MASS_SLACK),
            )
            if best is None or rank < best[0]:
                chosen = Tolerance(margin=point.margin, logit_slack=logit_slack, mass_slack=mass_slack)
                best = (rank, chosen, level, point, points)
    if best is None:
        raise CalibrationError(
            f"no threshold keeps dangerous tokens at {limits.max_dangerous_rate:g} and tokens beyond it at"
            f" {limits.max_unsafe_rate:g}: is this traffic honest, and of this model and dtype?"
        )
    return best[1], best[2], best[3], best[4]


def _rows(
    placed: PlacedTable, scores: TokenScores, half_r: BoolArray
) -> tuple[np.typing.NDArray[np.int64], TokenScores]:
    """Record indices and scores of the positions that belong to some records."""
    which = half_r[placed.record_n]
    return placed.record_n[which], scores.take(which)


def _token_noise(
    scored: Sequence[tuple[np.typing.NDArray[np.int64], TokenScores]],
    half_r: BoolArray,
    outlier_margin: float | None = None,
) -> TokenNoise:
    records, bins = len(half_r), len(MARGIN_EDGES) - 1
    exposures, chosen = np.zeros((records, bins)), np.zeros((records, bins))
    beyond, tokens = np.zeros((records, bins + 1)), np.zeros(records)
    for record_n, scores in scored:
        for total, part in zip((exposures, chosen, beyond), noise_counts(scores), strict=True):
            np.add.at(total, record_n, part)
        np.add.at(tokens, record_n, 1)
    return TokenNoise.from_counts(
        exposures[half_r], chosen[half_r], beyond[half_r], tokens[half_r], outlier_margin=outlier_margin
    )


def _code_rates(half: Sequence[TokenScores], thresholds: Thresholds, scheme: str) -> CodeRates:
    """What the codes of tokens are made for; one half of an event is added, so that no share is 0."""
    edges = np.array(MARGIN_EDGES)
    offered, taken = np.zeros(len(edges)), np.zeros(len(edges))
    for scores in half:
        class_n, offered_nc = classes(edges, scores)
        offered += offered_nc.sum(axis=0)
        taken += taken_classes(class_n, len(edges) - 1).sum(axis=0)
    margin = np.concatenate([scores.margin_n for scores in half])
    near = np.concatenate([scores.logit_rank_n for scores in half]) <= thresholds.rank_limit
    share = np.minimum((taken + 0.5) / (offered + 1), 0.5)

    def share_of(which: BoolArray) -> float:
        return (float(which.sum()) + 0.5) / (len(margin) + 1)

    unsafe, outlier = margin > thresholds.margin_logits, margin > code_edges(scheme)[-1]

    return CodeRates(
        alternative=[share[0], *isotonic_regression(share[1:], weights=offered[1:] + 1, increasing=False).x],
        suspicious=share_of(unsafe & near),
        dangerous=share_of(unsafe & ~near),
        outliers_near=share_of(outlier & near),
        outliers_far=share_of(outlier & ~near),
    )


def _cdf_noise_scale(placed: Sequence[PlacedTable], half_r: BoolArray) -> float:
    """Standard deviation of the noise on the uniform number, probability: maximum likelihood of IPT-LS on a grid."""
    low = np.concatenate([p.table.cdf_low_n[half_r[p.record_n]] for p in placed])
    high = np.concatenate([p.table.cdf_high_n[half_r[p.record_n]] for p in placed])
    known = np.isfinite(low) & np.isfinite(high)
    scales: FloatArray = np.geomspace(1e-6, 0.3, 60)
    likelihood = [
        float(np.maximum(inverse_transform_likelihood_score(low[known], high[known], s), -50.0).sum()) for s in scales
    ]
    return float(scales[int(np.argmax(likelihood))])


def _warnings(records: Sequence[Record], half_r: BoolArray, noise: TokenNoise, evaluation: Evaluation) -> list[str]:
    warnings = []
    entropy = evaluation.entropy_bits_per_token.value
    if entropy < MIN_ENTROPY:
        warnings.append(
            f"hardly any position had more than one plausible token (honest entropy: {entropy:.2g} bits a token): this"
            " traffic says little about noise; calibrate on longer, sampled answers to different prompts"
        )
    half = [record for record, first_half in zip(records, half_r, strict=True) if first_half]
    sampling = [record.sampling for record in half if not record.sampling.is_greedy]
    if not any(s.top_p < 1 for s in sampling):
        warnings.append("no record has top_p below 1: the mass slack is a default, not calibrated")
    if not any(s.top_k > 0 or s.min_p > 0 for s in sampling):
        warnings.append("no record has top_k or min_p: the logit slack is a default, not calibrated")
    if noise.outlier_upper > FLAG_LEVEL:
        warnings.append(
            f"too few tokens to bound the outlier rate by {FLAG_LEVEL:g} (bound: {noise.outlier_upper:.2g});"
            " records are flagged less readily: calibrate on at least 4,000 tokens"
        )
    return warnings
