"""Exact calibration: a policy if the replay reproduces honest traffic token for token, up to ties; a refusal if not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.evaluation import as_rate
from weightwarden.verifier.calibration.traffic import MIN_RECORDS, check_grammars, check_refused, made_for_traffic
from weightwarden.verifier.errors import CalibrationError
from weightwarden.verifier.policy.exact import (
    EXACT_FORMAT,
    EXACT_TOLERANCE,
    EXACT_WINDOW,
    RANK_LIMIT,
    ExactCheck,
    ExactPolicy,
)
from weightwarden.verifier.replay.replay import Replay, Replayer
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.scoring.token_verdicts import judge_tokens
from weightwarden.verifier.statistics.intervals import clopper_pearson, clustered_mean

NAMED_MISMATCHES = 10
UPPER_CONFIDENCE = 0.95


@dataclass(frozen=True, order=True)
class Mismatch:
    """An honest token that differs from the replay's."""

    record: str
    position: int
    token: int
    margin: float

    def __str__(self) -> str:
        far = f"{self.margin:.3g} logits below" if np.isfinite(self.margin) else "outside the support"
        return f"{self.record}, position {self.position}: token {self.token} ({far})"


class NotExact(CalibrationError):
    """Honest traffic differs from the replay: this server and this replay are not the same engine, bit for bit."""

    def __init__(self, mismatches: Sequence[Mismatch], tokens: int) -> None:
        self.mismatches = sorted(mismatches)
        named = "".join(f"\n  {mismatch}" for mismatch in self.mismatches[:NAMED_MISMATCHES])
        more = len(self.mismatches) - NAMED_MISMATCHES
        super().__init__(
            f"replay is not exact: {len(self.mismatches)} of {tokens} honest tokens differ beyond ties; run both"
            " servers with the same version, dtype, settings and kind of processor (docs/exact-replay.md), or"
            f" calibrate without --exact. They are:{named}" + (f"\n  ... and {more} more" if more > 0 else "")
        )


def calibrate_exact(
    replayer: Replayer,
    records: Sequence[Record],
    names: Sequence[str],
    *,
    traffic_digests: Sequence[str] = (),
    unlisted_engine: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExactPolicy:
    """Make an exact policy from honest traffic, or refuse.

    Nothing is chosen, so that no record is held back: the tolerance is zero, and every record tests it.

    Args:
        names: name of each record in a refusal, such as "file.jsonl:12".
        unlisted_engine: calibrate also if the scheme was not compared with the engine and version of the records.

    Raises:
        CalibrationError: the traffic is mixed, or has too few records.
        NotExact: a token differs; the error names all of them.
    """
    made_for = made_for_traffic(replayer, records, unlisted_engine=unlisted_engine)
    if len(records) < MIN_RECORDS:
        raise CalibrationError(f"{len(records)} records are too few to calibrate on; at least {MIN_RECORDS} are needed")
    vocabulary = replayer.identity.vocabulary
    bits_r, tokens_r = np.zeros(len(records)), np.zeros(len(records))
    tied = unresolved = 0
    mismatches = []
    replay = Replay(replayer, EXACT_WINDOW, progress)
    for placed in replay.tables(records):
        check_grammars(placed, vocabulary)
        scores = score(placed.table, EXACT_TOLERANCE, 0)
        verdicts = judge_tokens(scores, EXACT_TOLERANCE.margin, RANK_LIMIT, vocabulary)
        np.add.at(bits_r, placed.record_n, verdicts.charged_bits_n)
        np.add.at(tokens_r, placed.record_n, 1)
        tied += int((scores.admissible_n - scores.unseen_n > 1).sum())
        unresolved += int((scores.unseen_n > 0).sum())
        for at in np.flatnonzero(scores.margin_n > EXACT_TOLERANCE.margin):
            record, position = int(placed.record_n[at]), int(placed.position_n[at])
            token = records[record].output_token_ids[position]
            mismatches.append(Mismatch(names[record], position, token, float(scores.margin_n[at])))
    check_refused(replay)
    tokens = int(tokens_r.sum())
    if mismatches:
        raise NotExact(mismatches, tokens)
    one_sided = 2 * UPPER_CONFIDENCE - 1  # the upper end of a two-sided interval of this confidence
    return ExactPolicy(
        format=EXACT_FORMAT,
        made_for=made_for,
        check=ExactCheck(
            records=len(records),
            tokens=tokens,
            record_mismatch_upper=clopper_pearson(0, len(records), one_sided).high,
            token_mismatch_upper=clopper_pearson(0, tokens, one_sided).high,
            tied_positions=tied,
            unresolved_positions=unresolved,
            charged_bits_per_token=as_rate(clustered_mean(bits_r, tokens_r)),
            traffic=list(traffic_digests),
        ),
    )
