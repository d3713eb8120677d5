"""Turns of several models at one machine: which of them is audited next, when few of them fit in memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from weightwarden.errors import WeightwardenError
from weightwarden.verifier.server.audit.auditor import Auditor
from weightwarden.verifier.server.audit.task_queue import waits
from weightwarden.verifier.server.errors import ReplayTrouble, VerdictsUnusable
from weightwarden.verifier.verification.on_demand import OnDemandExecutor, ResidentExecutors

TURN_SECONDS = 60.0
"""Seconds after a model was loaded in which the loaded ones keep their places while they have work."""
LOADS_A_TURN = 9
"""The same in times of loading: loading takes at most a tenth of the time."""


@dataclass(kw_only=True)
class AuditTurns:
    """The models whose records one thread audits, a batch at a time.

    Loaded models with waiting records take turns. Another model is loaded when it has waiting records, and there is
    room, or no loaded one has any, or the last one was loaded long enough ago. The one that was used least recently
    makes room.
    """

    residents: ResidentExecutors
    monotonic: Callable[[], float] = time.monotonic
    _models: dict[str, tuple[Auditor, OnDemandExecutor]] = field(default_factory=dict, init=False)
    _batches: int = field(default=0, init=False)
    _served: dict[str, int] = field(default_factory=dict, init=False)
    _rests_until: dict[str, float] = field(default_factory=dict, init=False)
    _turn_ends: float = field(default=0.0, init=False)

    def add(self, model: str, auditor: Auditor, executor: OnDemandExecutor) -> None:
        """Add a model."""
        self._models[model] = auditor, executor
        self._served[model] = 0

    def holds(self, model: str) -> bool:
        """True if a model is in memory now."""
        return self._models[model][1].is_loaded

    def rest(self, model: str, seconds: float) -> None:
        """Leave a model out for so many seconds: it used its share of the machine, or failed."""
        self._rests_until[model] = self.monotonic() + seconds

    def next(self) -> str | None:
        """The model to audit now; None if none has records that could be audited."""
        now = self.monotonic()
        waited = sorted(self._models, key=self._served.__getitem__)  # the one that waited longest comes first
        able = [model for model in waited if self._rests_until.get(model, now) <= now and self._waits(model)]
        loaded = [model for model in able if self._models[model][1].is_loaded]
        others = [model for model in able if model not in loaded]
        if others and (not loaded or self.residents.has_room or now >= self._turn_ends):
            return others[0]
        return loaded[0] if loaded else None

    def work(self, model: str) -> bool:
        """Audit the next records of a model, which is loaded for it. False if there were none.

        Raises:
            VerdictsUnusable: the database fails.
            ReplayTrouble: the model cannot be loaded, or nothing can be replayed.
        """
        auditor, executor = self._models[model]
        self._batches += 1
        self._served[model] = self._batches
        if not executor.is_loaded:
            self._load(model, auditor, executor)
        return auditor.work()

    def _load(self, model: str, auditor: Auditor, executor: OnDemandExecutor) -> None:
        started = self.monotonic()
        auditor.hang_detector.progressed()
        try:
            executor.load()
        except WeightwardenError as error:
            raise ReplayTrouble(f"the model cannot be loaded: {error}") from None
        finally:
            auditor.hang_detector.ended()
        ended = self.monotonic()
        self._turn_ends = ended + max(TURN_SECONDS, LOADS_A_TURN * (ended - started))
        auditor.events.say("model loaded", seconds=round(ended - started, 2))

    def _waits(self, model: str) -> bool:
        try:
            return waits(self._models[model][0].membership)
        except VerdictsUnusable:
            return False  # the model's other work reports it
