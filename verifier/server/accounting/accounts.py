"""The accounts of a series: all sums over its verdicts, so that reports need not read every verdict.

Verdicts are accounted for in the order of their positions, each once, in one transaction with the position reached. The
accounts of several servers, some of which may crash, are therefore those of one server without interruption.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.scoring.ledger import CODED_BITS
from weightwarden.verifier.scoring.margin_histogram import BINS, CANDIDATE_BINS
from weightwarden.verifier.statistics.betting import Spread
from weightwarden.verifier.statistics.conditional_e_process import ConditionalEProcess
from weightwarden.verifier.statistics.e_process import RateEProcess
from weightwarden.verifier.statistics.rates import RateSequence
from weightwarden.verifier.verification.series_limit import SeriesLimit
from weightwarden.verifier.verification.series_monitor import CONDITIONAL_SHARE, LOG_RATIO, WATCHED, SeriesMonitor

CONFIDENCE = 0.99
"""Confidence of each confidence sequence, and of the limit of the series."""
FORMAT = 2
"""Format of the stored form. The first had none of its own, no limit of the series, and no conditional test."""
PER_TOKEN = ("mismatches", "suspicious", "dangerous", "pooled_bits", "outlying")
PER_RECORD = ("flagged", "early_stops", "refusals")
"""Quantities with a confidence sequence. Refusals are records without a token."""
TOTALS = (
    "records",
    "unverifiable",
    "flagged",
    "early_stops",
    "refusals",
    "tokens",
    "mismatches",
    "suspicious",
    "dangerous",
    "outside_grammar",
    "outlying",
    "counting_bits",
    "pooled_bits",
    "end_bits",
    "entropy_bits",
)
"""Names of the sums. Unverifiable records count as flagged ones without tokens, since they could hide anything; those
whose requests leave no definite token are charged and not flagged. Bits of tokens do not include those of ends.
Accounts of earlier versions lack tokens outside grammars, of which they had none.
"""


@dataclass
class Accounts:
    """The accounts.

    Attributes:
        monitor: the evidence against an honest server since its last restart.
        epoch: number of restarts.
        sequences: confidence sequences by name of `PER_TOKEN` and `PER_RECORD`.
        limit: upper limit of the bits of all records of the series, audited or not.
        limit_since: time at which that limit began.
        totals: sums by name of `TOTALS`.
        margins_b: tokens by margin (`MarginHistogram`).
        candidates_b: candidates by margin (`MarginHistogram`).
        pointed: time of the last point of the charts.
    """

    monitor: SeriesMonitor
    sequences: dict[str, RateSequence]
    limit: SeriesLimit
    limit_since: float
    epoch: int = 0
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TOTALS, 0.0))
    margins_b: IntArray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    candidates_b: IntArray = field(default_factory=lambda: np.zeros(CANDIDATE_BINS, np.int64))
    pointed: float = 0.0

    @property
    def subject(self) -> str:
        """Subject of the monitor's incident: the evidence since its last restart."""
        return f"series {self.epoch}"

    @classmethod
    def new(
        cls, policy: BasePolicy, vocabulary: int, longest: int, *, limit: SeriesLimit, limit_since: float
    ) -> "Accounts":
        """Empty accounts. Records longer than `longest` tokens weigh as much as that in rates."""
        bits = float(np.log2(vocabulary))

        def sequence(name: str) -> RateSequence:
            most = bits + CODED_BITS if name.endswith("bits") else 1.0
            return RateSequence(
                confidence=CONFIDENCE, longest=1.0 if name in PER_RECORD else float(longest), most_per_token=most
            )

        return cls(
            SeriesMonitor.new(policy, bits, longest),
            {name: sequence(name) for name in (*PER_TOKEN, *PER_RECORD)},
            limit,
            limit_since,
        )

    def restart_monitor(self, policy: BasePolicy, vocabulary: int, longest: int) -> None:
        """Drop the evidence that an operator has acknowledged, so that new evidence is an alarm again."""
        self.monitor = SeriesMonitor.new(policy, float(np.log2(vocabulary)), longest)
        self.epoch += 1

    def add(self, columns: dict[str, FloatArray], margins_b: IntArray, candidates_b: IntArray) -> None:
        """Add verdicts, in the order of their positions.

        Args:
            columns: "tokens", `WATCHED`, and the other names of `TOTALS`, float64 [records]; "record_weight" and
                "token_weight", the weights in the confidence sequences (`SamplingDesign`); `LOG_RATIO`, float64
                [records, bets].
        """
        tokens_r = columns["tokens"]
        # A record that is unverifiable and not flagged is no evidence: its request is the reason.
        counts_r = (columns["unverifiable"] == 0) | (columns["flagged"] > 0)
        counted = {name: columns[name] * counts_r for name in ("tokens", *WATCHED)}
        self.monitor.add(counted | {LOG_RATIO: columns[LOG_RATIO]})
        for name, sequence in self.sequences.items():
            if name in PER_RECORD:
                sequence.add(columns[name] * columns["record_weight"], columns["record_weight"])
                continue
            weight_r = columns["token_weight"]
            per_token_r = columns[name] / np.maximum(tokens_r, 1)
            sequence.add(np.minimum(per_token_r, sequence.most_per_token) * weight_r, weight_r)
        for name in TOTALS:
            if name != "records":
                self.totals[name] += float(columns[name].sum())
        self.totals["records"] += len(tokens_r)
        self.margins_b = self.margins_b + margins_b
        self.candidates_b = self.candidates_b + candidates_b

    @staticmethod
    def format_of(data: bytes) -> int:
        """The format of a stored form."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return int(json.loads(arrays["header"].tobytes()).get("format", 1))

    def to_bytes(self) -> bytes:
        """The accounts in their stored form: arrays in NumPy's format, everything else as JSON among them."""
        arrays: dict[str, Any] = {"margins_b": self.margins_b, "candidates_b": self.candidates_b}
        sequences, monitors = {}, {}
        for name, sequence in self.sequences.items():
            plain = {}
            for one in fields(sequence):
                value = getattr(sequence, one.name)
                if isinstance(value, np.ndarray):
                    arrays[f"sequence.{name}.{one.name}"] = value
                elif one.name != "spread":
                    plain[one.name] = value
            sequences[name] = plain | {"spread": {f.name: getattr(sequence.spread, f.name) for f in fields(Spread)}}
        for name, monitor in self.monitor.monitors.items():
            arrays[f"monitor.{name}"] = monitor.log_capital_lk
            monitors[name] = {f.name: getattr(monitor, f.name) for f in fields(monitor) if f.name != "log_capital_lk"}
        conditional = self.monitor.conditional
        arrays["conditional"] = conditional.log_capital_ck
        header = {
            "format": FORMAT,
            "limit": self.limit.to_dict(),
            "limit_since": self.limit_since,
            "policy_digest": self.monitor.policy_digest,
            "log_best": self.monitor.log_best,
            "conditional": {
                f.name: getattr(conditional, f.name) for f in fields(conditional) if f.name != "log_capital_ck"
            },
            "monitors": monitors,
            "sequences": sequences,
            "epoch": self.epoch,
            "totals": self.totals,
            "pointed": self.pointed,
        }
        arrays["header"] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, begin: "Accounts | None" = None) -> "Accounts":
        """The accounts from the stored form of `to_bytes`.

        Args:
            data: the stored form.
            begin: empty accounts, with which those of the first format begin what they lack.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header.get("format") == FORMAT:
                limit, limit_since = SeriesLimit.from_dict(header["limit"]), header["limit_since"]
                monitor = _monitor(header, arrays)
            elif begin is not None:
                limit, limit_since = begin.limit, begin.limit_since
                monitor = _first_monitor(header, arrays, begin.monitor)
            else:
                raise ValueError("accounts of an earlier format, which a server upgrades as it starts")
            sequences = {}
            for name in (*PER_TOKEN, *PER_RECORD):
                said, prefix = header["sequences"][name], f"sequence.{name}."
                kept = {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}
                sequences[name] = RateSequence(**(said | {"spread": Spread(**said["spread"])}), **kept)
            return cls(
                monitor=monitor,
                sequences=sequences,
                limit=limit,
                limit_since=limit_since,
                epoch=header["epoch"],
                totals=dict.fromkeys(TOTALS, 0.0) | header["totals"],
                margins_b=arrays["margins_b"],
                candidates_b=arrays["candidates_b"],
                pointed=header["pointed"],
            )


def _monitor(header: dict[str, Any], arrays: Mapping[str, FloatArray]) -> SeriesMonitor:
    """The monitor of stored accounts."""
    monitors = {
        name: RateEProcess(
            **said | {"weight_limits": tuple(said["weight_limits"])}, log_capital_lk=arrays[f"monitor.{name}"]
        )
        for name, said in header["monitors"].items()
    }
    conditional = ConditionalEProcess(**header["conditional"], log_capital_ck=arrays["conditional"])
    return SeriesMonitor(header["policy_digest"], conditional, monitors, header["log_best"])


def _first_monitor(header: dict[str, Any], arrays: Mapping[str, FloatArray], begin: SeriesMonitor) -> SeriesMonitor:
    """The monitor of stored accounts of the first format, which had one weight limit and no conditional test.

    The bets on flagged records go on, and the conditional test begins now. So the capital is that of one e-process over
    the whole series. Its best value is that of the flagged records. Evidence of other rates, which raise no alarm any
    more, does not count.
    """
    monitors = {}
    for name, said in header["monitors"].items():
        limits = begin.monitors[name].weight_limits
        kept = {key: value for key, value in said.items() if key != "longest"}
        capital_lk = np.tile(arrays[f"monitor.{name}"], (len(limits), 1))
        monitors[name] = RateEProcess(**kept, weight_limits=limits, log_capital_lk=capital_lk)
    log_best = np.logaddexp(np.log(CONDITIONAL_SHARE), np.log1p(-CONDITIONAL_SHARE) + monitors["flagged"].log_best)
    return SeriesMonitor(header["policy_digest"], begin.conditional, monitors, max(float(log_best), 0.0))
