"""The code of release schedules: its lengths in bits (docs/statistics.md, "Timing").

A schedule is what a record's release says beside its pace: the start slot, and the underruns before each further
group. The number of further groups follows from the tokens (`Pace.groups`), and is no part of the message. The code
writes

- the start slot, or that there is none: one of `SLOTS + 1` symbols;
- for each further group whether a run of underruns comes before it, and for each underrun whether one more follows.

Each kind of decision has an adaptive Bernoulli code: the probability of a sequence of decisions is its mean over a Beta
law of the share. Whether a run comes is a kind of its own in each place of the answer: underruns are likeliest at its
beginning, before it has tokens in stock. The pooled code of many records takes the slots together, too, with a
Dirichlet law of their shares. Such a probability depends on the counts alone, and not on an order of the decisions.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaln, gammaln

from weightwarden.logger.release import SLOTS
from weightwarden.sampler.types import FloatArray, IntArray

PLACE_ENDS = (3, 15, 63, int(np.iinfo(np.int64).max))
"""Last group of each place of an answer. The first place begins with the second group, which has the number 1."""
PLACES = len(PLACE_ENDS)
BEGINS = (1 / 16, 1.0)
"""Beta law of the share of groups with underruns before them, in each place: pseudocounts of yes and of no. It favours
none: 36 further groups without an underrun have 0.76 bits.
"""
GOES_ON = (0.5, 0.5)
"""Beta law of the share of underruns after which one more follows."""
SLOT_PSEUDOCOUNT = 0.5
"""Dirichlet law of the shares of the start slots: pseudocount of each."""
SLOT_BITS = float(np.log2(SLOTS + 1))
"""Length of a start slot, or of none, in the code of one record, bits."""
UNKNOWN_GROUP_BITS = 16.0
"""Charge for a group before which an unknown number of ticks was missed, below 2^16, bits."""
TWO_WAY_END_BITS = 1.0
"""Charge for an end that may have left in two ways, which no record holds: with the last group or on its own; for an
answer that was cut off, as the end of a stream or as a whole error. In bits.
"""
CHOICE_BITS = 2.0
"""Length of the information which code has the start slots, and which has the underruns: the records' own or the pooled
one, bits.
"""
_LN2 = float(np.log(2))


def groups_by_place(groups_u: IntArray) -> IntArray:
    """Number of further groups in each place, int64 [..., `PLACES`], of answers with so many in all, int64 [...]."""
    return np.diff(np.minimum(groups_u[..., None], PLACE_ENDS), prepend=0)


def runs_by_place(groups: Sequence[int]) -> IntArray:
    """Number of these groups in each place, int64 [`PLACES`]. None of them is the first group."""
    return np.bincount(np.searchsorted(PLACE_ENDS, groups), minlength=PLACES)


def tick_bits(groups_up: IntArray, runs_up: IntArray, underruns_u: IntArray) -> FloatArray:
    """Length of the underruns of records, or of some records together, bits [...].

    Args:
        groups_up: further groups, after the first one, by place, int64 [..., `PLACES`]. An end that leaves on its own
            is one.
        runs_up: those of them with underruns before them, int64 [..., `PLACES`].
        underruns_u: underruns, int64 [...].
    """
    runs_u = runs_up.sum(axis=-1)
    begins_up = _decisions(runs_up, groups_up - runs_up, BEGINS)
    bits: FloatArray = begins_up.sum(axis=-1) + _decisions(underruns_u - runs_u, runs_u, GOES_ON)
    return bits


def pooled_slot_bits(records_s: IntArray) -> float:
    """Length of the start slots of some records together, bits.

    Args:
        records_s: number of records by start slot, int64 [`SLOTS + 1`]; the last entry has no start slot.
    """
    prior, records = SLOT_PSEUDOCOUNT, float(records_s.sum())
    log_weights_s = gammaln(records_s + prior) - gammaln(prior)
    whole = prior * len(records_s)
    return float(gammaln(records + whole) - gammaln(whole) - log_weights_s.sum()) / _LN2


def _decisions(yes: IntArray, no: IntArray, law: tuple[float, float]) -> FloatArray:
    """Length of sequences of decisions with these counts under a Beta law of the share, bits."""
    bits: FloatArray = np.maximum(betaln(*law) - betaln(law[0] + yes, law[1] + no), 0.0) / _LN2
    return bits
