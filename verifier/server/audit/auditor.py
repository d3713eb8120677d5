"""The auditor: it replays and judges selected records, and stores their verdicts, each once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.serving.event_log import Events
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.margin_histogram import BINS, CANDIDATE_BINS
from weightwarden.verifier.server.audit.hang_detector import HangDetector
from weightwarden.verifier.server.audit.stored_evidence import is_kept, pack_payload, pack_scores
from weightwarden.verifier.server.audit.task_queue import MAX_ATTEMPTS, Task, complete, give_back, lease, put_off
from weightwarden.verifier.server.audit.verdict_rows import json_reasons, pack_margins, pack_ratios
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.errors import LeaseLost, ReplayTrouble
from weightwarden.verifier.verification.executor import Executor, WorkersKilled
from weightwarden.verifier.verification.judgement import Judgement

SMOOTHING = 0.2
"""Weight of the last batch in the measured speed."""


@dataclass(kw_only=True)
class Auditor:
    """Auditor of the selected records.

    Attributes:
        batch_records: largest number of records taken at once for each worker.
        batch_cost: largest number of tokens, prompts included, taken at once for each worker.
        compute_share: share of this machine's time for replaying; 1 for all of it.
        sleep: waits so many seconds, or less if the server is told to stop.
        tokens_per_second: measured speed of the replay, prompts included; None before the first batch.
        hang_detector: time without progress of the batch under way.
        audited_tokens: output tokens audited by this process.
        replay_seconds: seconds of replaying in this process.
    """

    membership: Membership
    verifier: Executor
    batch_records: int
    batch_cost: int
    compute_share: float
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    events: Events
    tokens_per_second: float | None = field(default=None, init=False)
    hang_detector: HangDetector = field(default_factory=HangDetector, init=False)
    audited_tokens: int = field(default=0, init=False)
    replay_seconds: float = field(default=0.0, init=False)
    _known_good: Record | None = field(default=None, init=False)

    def work(self) -> bool:
        """Audit the next records. False if there were none.

        1. Lease records that no other living server works on.
        2. Replay and judge them. If that fails, replay each alone. A record that fails while a record replayed before
           can be replayed again is postponed, and is unverifiable after several attempts. A record that crashed several
           workers of a cluster is unverifiable at once.
        3. Store the verdicts, if the leases are still this server's.
        4. Rest, if the machine is shared with other work.

        Raises:
            VerdictsUnusable: the database fails.
            ReplayTrouble: nothing can be replayed; the leases are given back.
        """
        # 1
        workers = self.verifier.workers
        tasks = lease(self.membership, workers * self.batch_records, workers * self.batch_cost)
        if not tasks:
            return False
        started = time.perf_counter()
        self.hang_detector.progressed()
        try:
            # 2, 3
            if tasks[0].attempts >= MAX_ATTEMPTS:
                self._give_up(tasks[0], f"cannot be replayed: {tasks[0].attempts} servers ended while they did")
                return True
            self._audit(tasks)
        except LeaseLost as lost:
            self.events.say("lease lost", records=len(tasks), why=str(lost))
            return True
        except BaseException:
            give_back(self.membership, tasks)
            raise
        finally:
            self.hang_detector.ended()
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
        """Store the verdicts of tasks: of all at once, or if that fails, of each that can be replayed alone."""
        why = self._judged(tasks)
        if why is None:
            return
        failed = [(task, why) for task in tasks]
        if len(tasks) > 1:
            failed = [(task, why) for task in tasks if (why := self._judged([task])) is not None]
        if failed and not self._can_replay():
            raise ReplayTrouble(f"nothing can be replayed: {failed[0][1]}")
        for task, why in failed:
            if task.attempts + 1 >= MAX_ATTEMPTS:
                self._give_up(task, f"cannot be replayed: {why}")
            else:
                put_off(self.membership, task)

    def _judged(self, tasks: Sequence[Task]) -> str | None:
        """Replay and judge tasks together, and store their verdicts.

        If that fails, store nothing and return the reason.
        """
        self.hang_detector.progressed()
        try:
            records = [decode_record(task.payload) for task in tasks]
            found = self.verifier.judge(records)
        except WorkersKilled as killed:
            for at in killed.places:
                self._give_up(tasks[at], "cannot be replayed: the workers that replayed it ended")
            left = [task for at, task in enumerate(tasks) if at not in killed.places]
            return self._judged(left) if left else None
        except Exception as error:
            if isinstance(error, WeightwardenError):
                return str(error)
            self.events.defect(error)
            return type(error).__name__
        answered = [record for record in records if record.output_token_ids]
        self._known_good = min(answered, key=lambda record: len(record.output_token_ids), default=self._known_good)
        self._keep(tasks, records, found)
        return None

    def _can_replay(self) -> bool:
        """True if a record that was replayed before can be replayed again. Unknown, and so false, without one."""
        if self._known_good is None:
            return False
        try:
            self.verifier.judge([self._known_good])
        except Exception:
            return False
        return True

    def _give_up(self, task: Task, what: str) -> None:
        complete(self.membership, [task], [self._unverifiable(task, what)], [_payload(task)])

    def _keep(self, tasks: Sequence[Task], records: Sequence[Record], found: Judgement) -> None:
        charges, now = found.charges, self.clock()
        rows: list[dict[str, Any]] = []
        evidence: list[dict[str, Any]] = []
        for at, (task, verdict) in enumerate(zip(tasks, found.records, strict=True)):
            if verdict.undefined is not None:
                rows.append(self._unverifiable(task, f"no verdict: {verdict.undefined}") | {"flagged": False})
                evidence.append(_payload(task))
                continue
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
                    "outside_grammar": int(verdict.tokens.outside_grammar.sum()),
                    "outliers": verdict.evidence.outliers,
                    "flagged": verdict.flagged,
                    "unverifiable": False,
                    "early_stop": verdict.early_stop,
                    "p_value": verdict.p_value,
                    "counting_bits": float(charges.counting_bits_r[at]),
                    "pooled_bits": float(charges.pooled_token_bits_r[at]),
                    "end_bits": float(charges.end_bits_r[at]),
                    "entropy_bits": entropy if np.isfinite(entropy) else None,
                    "largest_margin": _largest(verdict.tokens.margin),
                    "margins": pack_margins(found.margins.tokens_rb[at], found.margins.candidates_rb[at]),
                    "log_ratio": pack_ratios(found.tally.log_ratio_rk[at]),
                    "reasons": json_reasons(verdict.reasons),
                    "evidence": kept,
                }
            )
            if kept:
                evidence.append(_payload(task) | {"tokens": pack_scores(verdict)})
        complete(self.membership, tasks, rows, evidence)

    def _unverifiable(self, task: Task, what: str) -> dict[str, Any]:
        """The row of an unverifiable record: its tokens could hold anything."""
        self.events.say("record unverifiable", archive=task.archive, index=task.index)
        bits = task.tokens * float(np.log2(self.verifier.replayer.identity.vocabulary))
        return {
            "position": task.position,
            "archive": task.archive,
            "index": task.index,
            "at": self.clock(),
            "tokens": task.tokens,
            **dict.fromkeys(("mismatches", "suspicious", "dangerous", "outside_grammar", "outliers"), 0),
            "flagged": True,
            "unverifiable": True,
            "early_stop": False,
            "p_value": 1.0,
            **dict.fromkeys(("counting_bits", "pooled_bits"), bits),
            "end_bits": 0.0,
            "entropy_bits": None,
            "largest_margin": None,
            "margins": pack_margins(np.zeros(BINS, np.int64), np.zeros(CANDIDATE_BINS, np.int64)),
            "log_ratio": b"",
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
