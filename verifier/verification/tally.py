"""The tally of judged records: their charges, and the threshold sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.replay.replay import ReplaySeconds
from weightwarden.verifier.scoring.ledger import RecordCharges
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweepSums


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The common part of judgements and summaries of records.

    Attributes:
        charges: bits that each record could have carried, under every code.
        log_ratio_rk: ln of each record's e-value under each bet of the policy's `LikelihoodRatioBets`, nats.
        trade_off: threshold sweep of the records that are not flagged.
        timing: seconds of the replay.
    """

    charges: RecordCharges
    log_ratio_rk: FloatArray
    trade_off: ThresholdSweepSums = field(default_factory=ThresholdSweepSums)
    timing: ReplaySeconds = field(default_factory=ReplaySeconds)

    @classmethod
    def unbounded(cls, tokens: int, vocabulary: int, bets: int) -> Self:
        """The tally of one unverifiable record: each token may be any token. No bet is won by it."""
        return cls(charges=RecordCharges.unbounded(tokens, vocabulary), log_ratio_rk=np.zeros((1, bets)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The tally of the records of some parts, one part after another."""
        return cls(
            charges=RecordCharges.concat([part.charges for part in parts]),
            log_ratio_rk=np.concatenate([part.log_ratio_rk for part in parts]),
            trade_off=ThresholdSweepSums.total([part.trade_off for part in parts]),
            timing=ReplaySeconds.total([part.timing for part in parts]),
        )

    def ordered(self, order_r: IntArray) -> Self:
        """The same tally with the records in another order."""
        return replace(self, charges=self.charges.take(order_r), log_ratio_rk=self.log_ratio_rk[order_r])
