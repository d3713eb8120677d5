"""Choice of the slacks and the threshold, within limits, that leave an attacker least information."""

import itertools
from collections.abc import Sequence

from weightwarden.sampler.types import BoolArray
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.calibration.traffic import scores_of
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.errors import CalibrationError
from weightwarden.verifier.replay.replay import PlacedTable
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweep, ThresholdSweepPoint, fits
from weightwarden.verifier.scoring.token_scores import Tolerance, score

LOGIT_SLACKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
MASS_SLACKS = (0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03)
TYPICAL_MASS_SLACK = 0.006
"""Default for traffic without top-p."""
WINDOW = Window(margin=MARGIN_EDGES[-1], logit_slacks=LOGIT_SLACKS, mass_slack=MASS_SLACKS[-1])


def choose_thresholds(
    placed: Sequence[PlacedTable], half_r: BoolArray, limits: CalibrationLimits, vocabulary: int, max_margin: float
) -> tuple[Tolerance, int, ThresholdSweepPoint, list[ThresholdSweepPoint]]:
    """The slacks and the threshold that leave least information, and the trade-off table at those slacks."""
    best: tuple[tuple[float, ...], Tolerance, int, ThresholdSweepPoint, list[ThresholdSweepPoint]] | None = None
    for (level, logit_slack), mass_slack in itertools.product(enumerate(LOGIT_SLACKS), MASS_SLACKS):
        trade_off = ThresholdSweep(vocabulary, len(half_r))
        tolerance = Tolerance(margin=MARGIN_EDGES[-1], logit_slack=logit_slack, mass_slack=mass_slack)
        for p in placed:
            trade_off.add(*scores_of(p, score(p.table, tolerance, level), half_r))
        points = [p for p in trade_off.best_points(limits.max_dangerous_rate) if p.margin <= max_margin]
        for point in points:
            # The noise that swaps two candidates also moves them across a cut: the slack is never below the threshold.
            if logit_slack < point.margin or not fits(point, limits.max_dangerous_rate, limits.max_unsafe_rate):
                continue
            # Equal for all slacks if the traffic has no such filter: then the threshold itself determines the slacks.
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
