"""The e-process of the conditional test: capital from likelihood ratios of records, whatever a few of them hold.

Each record has an e-value E for every bet: a likelihood ratio whose expectation over an honest server's choices, given
the records before it, is at most 1 (`verifier.scoring.likelihood_ratio`). An honest server may answer a share phi of
the records in any other way: its law of a record is (1 - phi) P + phi Q, and Q is arbitrary (Huber 1965). With a cap c,

    min(E, c) / (1 + phi (c - 1))

has an expectation of at most ((1 - phi) 1 + phi c) / (1 + phi (c - 1)) = 1. Its product over records is an e-process,
and the mean over bets and caps is one. It reaches 1 / alpha in honest traffic, at any time, with probability at most
alpha (Ville 1939).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.e_process import log_mean
from weightwarden.verifier.statistics.errors import StatisticsError

CAPS = np.array([4.0, 32.0, 512.0])
"""Caps of a record's e-value. No record multiplies the capital by more than the largest. A small cap costs little in
short records, a large one lets a long record count."""


@dataclass
class ConditionalEProcess:
    """The e-process of the conditional test, against the hypothesis that the server is honest.

    Attributes:
        contamination: phi, the largest share of honest records that may hold anything, in [0, 1).
        records: number of records added.
        log_capital_ck: ln of the capital of each of `CAPS` and each bet, nats.
        log_best: the largest ln capital of the mixture so far, nats.
    """

    contamination: float
    records: int
    log_capital_ck: FloatArray
    log_best: float

    @classmethod
    def new(cls, *, bets: int, contamination: float) -> Self:
        """An e-process without records.

        Raises:
            StatisticsError: no bet can be made against the honest law.
        """
        if not bets or not 0 <= contamination < 1:
            raise StatisticsError(
                f"{bets} bets, and a share {contamination:g} of honest records that may hold anything"
            )
        return cls(contamination, 0, np.zeros((len(CAPS), bets)), 0.0)

    @property
    def bets(self) -> int:
        """Number of bets."""
        return int(self.log_capital_ck.shape[1])

    def add(self, log_ratio_rk: FloatArray) -> None:
        """Add records in the order of their arrival.

        Args:
            log_ratio_rk: ln of each record's e-value under each bet, nats.
        """
        if not len(log_ratio_rk):
            return
        path_rck = self.log_capital_ck + np.cumsum(log_factors(log_ratio_rk, self.contamination), axis=0)
        self.log_best = max(self.log_best, float(log_mean(path_rck).max()))
        self.log_capital_ck = path_rck[-1]
        self.records += len(log_ratio_rk)

    @property
    def log_capital(self) -> float:
        """ln of the capital now, nats: the e-value of all records added."""
        return float(log_mean(self.log_capital_ck))

    @property
    def p_value(self) -> float:
        """The share of honest streams, at most, that ever look so bad (anytime-valid)."""
        return float(np.exp(-self.log_best))


def log_factors(log_ratio_rk: FloatArray, contamination: float) -> FloatArray:
    """ln of the factor [records, caps, bets] by which a record multiplies each capital, nats."""
    capped_rck = np.minimum(log_ratio_rk[:, None, :], np.log(CAPS)[:, None])
    factors: FloatArray = capped_rck - np.log1p(contamination * (CAPS - 1))[:, None]
    return factors


def capital_path(log_ratio_rk: FloatArray, contamination: float) -> FloatArray:
    """ln of the capital after each record [records], nats, from a capital of 1."""
    return log_mean(np.cumsum(log_factors(log_ratio_rk, contamination), axis=0))
