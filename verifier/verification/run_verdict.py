"""The verdict of a run: the verdicts of many records, judged together."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

import numpy as np

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.replay.replay import ReplaySeconds
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.run_evidence import HonestRates, run_p_value
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweepPoint
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.judgement import watched
from weightwarden.verifier.verification.summary import FlaggedRecord, Summary, UnverifiableRecord, merge_all
from weightwarden.verifier.verification.work_unit import work_units


class NothingToVerify(WeightwardenError, ValueError):
    """There is no record to verify. This is not a clear result."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of a verification, with its evidence.

    Counts and rates are of the records that have a verdict. Charges and bits are of all records, unverifiable ones
    included.

    Attributes:
        summary: summary of all records, in their order.
        honest_rates: upper limits of an honest server's rates, against which the run was judged.
        run_p_value: probability, at most, that an honest run shows as much.
        trade_off: threshold sweep of the records that are not flagged.
    """

    summary: Summary
    vocabulary: int
    honest_rates: HonestRates
    run_p_value: float
    trade_off: list[ThresholdSweepPoint]
    total_seconds: float

    @property
    def charges(self) -> RecordCharges:
        return self.summary.charges

    @property
    def timing(self) -> ReplaySeconds:
        return self.summary.tally.timing

    @property
    def records(self) -> int:
        """Records with a verdict."""
        return int(self.summary.columns.verified_r.sum())

    @property
    def tokens(self) -> int:
        """Output tokens of the records with a verdict, forced ones included."""
        return self._verified("tokens_r")

    @property
    def forced(self) -> int:
        """Forced tokens: the sidecar put them in, and the replay has no row for them."""
        return int(self.summary.columns.forced_r.sum())

    @property
    def exact(self) -> int:
        """Tokens that are the replay's choice, or forced as the sidecar's rule demands."""
        return self.tokens - self._verified("mismatches_r")

    def count(self, verdict: Verdict) -> int:
        """Tokens with a verdict. A forced token is safe, or dangerous where the sidecar's rule does not demand it."""
        suspicious, dangerous = self._verified("suspicious_r"), self._verified("dangerous_r")
        return {
            Verdict.SAFE: self.tokens - suspicious - dangerous,
            Verdict.SUSPICIOUS: suspicious,
            Verdict.DANGEROUS: dangerous,
        }[verdict]

    @property
    def exact_match_rate(self) -> float:
        return self.exact / self.tokens

    @property
    def early_stops(self) -> int:
        return int(self.summary.columns.early_stop_r.sum())

    @property
    def unanswered(self) -> int:
        """Records without output tokens: their requests were refused, failed, or aborted before the first token."""
        return int((self.charges.tokens_r == 0).sum())

    @property
    def flagged(self) -> list[FlaggedRecord]:
        return self.summary.flagged

    @property
    def outlying(self) -> int:
        """Records that hold an outlier, flagged or not."""
        return int((self.summary.columns.outliers_r > 0).sum())

    @property
    def honest_outlying(self) -> float:
        """The mean number of records with an outlier, at most, in honest traffic like the calibration's.

        The records have the same lengths.
        """
        tokens_r = self.charges.tokens_r[self.summary.columns.verified_r]
        return float(self.honest_rates.outlying(tokens_r).sum())

    @property
    def unverifiable(self) -> list[UnverifiableRecord]:
        """Unverifiable records: they crashed their workers, or their requests leave no definite token."""
        return self.summary.unverifiable

    @property
    def charged_bits_per_token(self) -> float:
        """Mean information charged, early stops included, bits per token."""
        columns = self.summary.columns
        return (fsum(columns.charged_bits_r) + fsum(columns.stop_bits_r)) / int(self.charges.tokens_r.sum())

    @property
    def charged_fraction(self) -> float:
        return self.charged_bits_per_token / float(np.log2(self.vocabulary))

    @property
    def tied_positions(self) -> int:
        """Safe positions with more than one admissible token among those whose logits are known."""
        return int(self.summary.columns.tied_r.sum())

    @property
    def unresolved_positions(self) -> int:
        """Positions where a token whose logit is not known might have won."""
        return int(self.summary.columns.unresolved_r.sum())

    @property
    def unsteady_positions(self) -> int:
        """Positions decided by rounding errors: they are charged, and are no evidence."""
        return int(self.summary.columns.unsteady_r.sum())

    @property
    def outside_grammar(self) -> int:
        """Tokens outside the grammars of their requests; each is dangerous, and flags its record."""
        return int(self.summary.columns.outside_grammar_r.sum())

    @property
    def unresolved_bits_per_token(self) -> float:
        """The part of the information charged that is due to unresolved positions, bits per token."""
        return fsum(self.summary.columns.unresolved_bits_r) / self.tokens

    @property
    def watched(self) -> dict[str, FloatArray]:
        """The quantities of every record that `SeriesMonitor` watches (`watched`).

        A record that crashed workers counts as flagged. A record without a definite token is no evidence, since its
        request is the reason: otherwise a client could have an honest server accused.
        """
        columns = self.summary.columns
        undefined = [record.place for record in self.unverifiable if not record.deaths]
        found = watched(
            self.summary.tally,
            outlying_r=(columns.outliers_r > 0).astype(np.float64),
            flagged_r=(columns.flagged_r | ~columns.verified_r).astype(np.float64),
        )
        for column in found.values():
            column[undefined] = 0.0
        return found

    @property
    def alarm(self) -> bool:
        """True if an honest run would show as much with probability at most `RUN_ALARM_LEVEL`."""
        return self.run_p_value <= RUN_ALARM_LEVEL

    def _verified(self, column: str) -> int:
        return int(getattr(self.charges, column)[self.summary.columns.verified_r].sum())


def verify(executor: Executor, records: Iterable[Record]) -> Verification:
    """Verify records, and judge them as one run. Only a window of records is held at once.

    1. Group the records into work units, and have the executor judge these, in any order.
    2. Merge the summaries, and put them in the order of the records.
    3. Judge the run.

    Raises:
        NothingToVerify: there is no record, or none with a token.
        PolicyError: the policy holds for another scheme or engine.
    """
    started = time.perf_counter()
    # 1, 2
    merged = merge_all(executor.summaries(work_units(records, executor.unit_tokens)))
    if merged is None:
        raise NothingToVerify("there is no record to verify")
    summary = merged.ordered()
    verified_r = summary.columns.verified_r
    if not summary.charges.tokens_r[verified_r].sum():
        why = f"; the first that has no verdict: {summary.unverifiable[0].why}" if summary.unverifiable else ""
        raise NothingToVerify(f"none of {len(summary)} records has a token to verify{why}")
    # 3
    vocabulary, honest, columns = executor.replayer.identity.vocabulary, executor.policy.honest_rates, summary.columns
    sweep = summary.tally.trade_off
    return Verification(
        summary=summary,
        vocabulary=vocabulary,
        honest_rates=honest,
        run_p_value=run_p_value(
            honest,
            p_value_r=columns.p_value_r[verified_r],
            flagged=len(summary.flagged),
            tokens_r=summary.charges.tokens_r[verified_r],
            log_ratio_rk=summary.tally.log_ratio_rk[verified_r],
        ),
        trade_off=[] if executor.policy.exact else sweep.points(executor.policy.rank_limit, vocabulary),
        total_seconds=time.perf_counter() - started,
    )
