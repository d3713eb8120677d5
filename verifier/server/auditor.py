"""Auditing: selected records are replayed, judged, and their verdicts kept, each once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logger.encoding import decode_record
from logger.events import Events
from logger.record import Record
from sampler.errors import WeightwardenError
from sampler.types import FloatArray
from verifier.errors import ReplayServerError
from verifier.margin_counts import BINS, CANDIDATE_BINS
from verifier.server.errors import LeaseLost
from verifier.server.evidence import is_kept, pack_payload, pack_scores
from verifier.server.presence import Presence
from verifier.server.tasks import MOST_ATTEMPTS, Task, complete, give_back, lease
from verifier.server.verdict_rows import json_reasons, pack_margins
from verifier.verification import Judgement, Verifier

SMOOTHING = 0.2
"""Weight of the last batch in the speed that is measured."""


@dataclass(kw_only=True)
class Auditor:
    """Replays what was selected.

    Attributes:
        batch_records, batch_cost: how much is taken at once: records, and their tokens with prompts.
        compute_share: of this machine's time that replaying may take; 1 for all of it.
        sleep: waits so many seconds, or less where the server is told to stop.
        tokens_per_second: measured speed of the replay, prompts included; None before the first batch.
        trouble: why nothing can be replayed now, or None.
    """

    presence: Presence
    verifier: Verifier
    batch_records: int
    batch_cost: int
    compute_share: float
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    events: Events
    tokens_per_second: float | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    audited_tokens: int = field(default=0, init=False)
    replay_seconds: float = field(default=0.0, init=False)

    def work(self) -> bool:
        """Audit the next records; whether there were any.

        1. Lease some that no living server works on.
        2. Replay and judge them. One that cannot be replayed is found by replaying each alone, and set aside.
        3. Keep their verdicts, if they are still this server's.
        4. Rest, if the machine is not this work's alone.

        Raises:
            VerdictsUnusable: the database fails.
            ReplayServerError: the replay server fails; what was leased is given back.
        """
        # 1
        tasks = lease(self.presence, self.batch_records, self.batch_cost)
        if not tasks:
            return False
        started = time.perf_counter()
        try:
            # 2, 3
            if tasks[0].attempts >= MOST_ATTEMPTS:
                what = f"{tasks[0].attempts} servers died while they replayed it"
                complete(self.presence, tasks, [self._set_aside(tasks[0], what)], [_payload(tasks[0])])
                return True
            self._audit(tasks)
        except LeaseLost as lost:
            self.events.say("lease lost", records=len(tasks), why=str(lost))
            return True
        except ReplayServerError as error:
            give_back(self.presence, tasks)
            self.trouble = str(error)
            raise
        except BaseException:
            give_back(self.presence, tasks)
            raise
        self.trouble = None
        seconds = time.perf_counter() - started
        self._measure(sum(task.cost for task in tasks), seconds)
        self.audited_tokens += sum(task.tokens for task in tasks)
        self.replay_seconds += seconds
        self.events.say(
            "audited", records=len(tasks), tokens=sum(task.tokens for task in tasks), seconds=round(seconds, 2)
        )
        # 4
        self.sleep(seconds * (1 / self.compute_share - 1))
        return True

    def _audit(self, tasks: Sequence[Task]) -> None:
        try:
            records = [decode_record(task.payload) for task in tasks]
            found = self.verifier.judge(records)
        except (LeaseLost, ReplayServerError):
            raise
        except Exception as error:  # whatever a record does to the replay: the others are audited
            if len(tasks) > 1:
                for task in tasks:
                    self._audit([task])
                return
            if not isinstance(error, WeightwardenError):
                self.events.defect(error)
            what = f"it cannot be replayed: {error if isinstance(error, WeightwardenError) else type(error).__name__}"
            complete(self.presence, tasks, [self._set_aside(tasks[0], what)], [_payload(tasks[0])])
            return
        self._keep(tasks, records, found)

    def _keep(self, tasks: Sequence[Task], records: Sequence[Record], found: Judgement) -> None:
        charges, now = found.charges, self.clock()
        rows: list[dict[str, Any]] = []
        evidence: list[dict[str, Any]] = []
        for at, (task, verdict) in enumerate(zip(tasks, found.records, strict=True)):
            kept = is_kept(verdict)
            entropy = float(charges.entropy_bits_r[at])
            rows.append(
                {
                    "position": task.position,
                    "archive": task.archive,
                    "index": task.index,
                    "at": now,
                    "tokens": int(charges.tokens_r[at]),
                    "mismatches": int(charges.mismatches_r[at]),
                    "suspicious": int(charges.suspicious_r[at]),
                    "dangerous": int(charges.dangerous_r[at]),
                    "flagged": verdict.flagged,
                    "unverifiable": False,
                    "early_stop": verdict.early_stop,
                    "p_value": verdict.p_value,
                    "counting_bits": float(charges.counting_bits_r[at]),
                    "pooled_bits": float(charges.honest_tilt_bits_r[at]),
                    "end_bits": float(charges.end_bits_r[at]),
                    "entropy_bits": entropy if np.isfinite(entropy) else None,
                    "largest_margin": _largest(verdict.tokens.margin),
                    "margins": pack_margins(found.margins.tokens_rb[at], found.margins.candidates_rb[at]),
                    "reasons": json_reasons(verdict.reasons),
                    "evidence": kept,
                }
            )
            if kept:
                evidence.append(_payload(task) | {"tokens": pack_scores(verdict)})
        complete(self.presence, tasks, rows, evidence)

    def _set_aside(self, task: Task, what: str) -> dict[str, Any]:
        """The row of a record that has no verdict and never will."""
        self.events.say("record set aside", archive=task.archive, index=task.index)
        return {
            "position": task.position,
            "archive": task.archive,
            "index": task.index,
            "at": self.clock(),
            **dict.fromkeys(("tokens", "mismatches", "suspicious", "dangerous"), 0),
            "flagged": True,
            "unverifiable": True,
            "early_stop": False,
            "p_value": 1.0,
            **dict.fromkeys(("counting_bits", "pooled_bits", "end_bits"), 0.0),
            "margins": pack_margins(np.zeros(BINS, np.int64), np.zeros(CANDIDATE_BINS, np.int64)),
            "reasons": json_reasons([what]),
            "evidence": True,
        }

    def _measure(self, cost: int, seconds: float) -> None:
        speed = cost / max(seconds, 1e-9)
        before = self.tokens_per_second
        self.tokens_per_second = speed if before is None else (1 - SMOOTHING) * before + SMOOTHING * speed


def _payload(task: Task) -> dict[str, Any]:
    return {"position": task.position, "payload": pack_payload(task.payload), "tokens": pack_scores(None)}


def _largest(margin_n: FloatArray) -> float | None:
    largest = float(margin_n.max(initial=0.0))
    return largest if np.isfinite(largest) else None
