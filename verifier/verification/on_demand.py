"""Executors that load their models when there is work, of which a few at a time hold one."""

import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment
from weightwarden.verifier.replay.replay import ReplayFacts
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.token_frame import TokenSink
from weightwarden.verifier.verification.work_unit import WorkUnit


@dataclass(frozen=True, kw_only=True)
class KnownReplayer:
    """The facts about a replayer (`ReplayFacts`) that are known before it is loaded."""

    implementation: str
    dtype: str
    device: str
    identity: ModelIdentity
    tokenizer: Tokenizer


@dataclass
class ResidentExecutors:
    """The loaded executors: at most `limit`, the least recently used one making room for the next.

    It may be used from any thread. An executor in use is not closed, and no other one is used meanwhile.
    """

    limit: int
    _held: "dict[int, tuple[OnDemandExecutor, Executor]]" = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"at least one executor is held, not {self.limit}")

    @property
    def has_room(self) -> bool:
        """True if another executor can be loaded without closing one."""
        return len(self._held) < self.limit

    def holds(self, executor: "OnDemandExecutor") -> bool:
        """True if an executor is loaded."""
        return id(executor) in self._held

    @contextmanager
    def loaded(self, executor: "OnDemandExecutor") -> Iterator[Executor]:
        """The loaded executor, for as long as the context lasts."""
        with self._lock:
            held = self._held.pop(id(executor), None)
            if held is None:
                while not self.has_room:
                    self._close(next(iter(self._held)))
                held = (executor, executor.open())
            self._held[id(executor)] = held  # last: the most recently used
            yield held[1]

    def close(self, executor: "OnDemandExecutor") -> None:
        """Close an executor, if it is loaded."""
        with self._lock:
            self._close(id(executor))

    def _close(self, key: int) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            held[1].close()
            del held
            gc.collect()  # the model's memory is needed by the next one


@dataclass(kw_only=True)
class OnDemandExecutor:
    """An `Executor` on one worker that is loaded when it has work.

    Attributes:
        replayer: what is known of the replayer without loading it.
        open: loads the executor.
        residents: the loaded executors, among which it has its place.
    """

    policy: BasePolicy
    replayer: ReplayFacts
    open: Callable[[], Executor]
    residents: ResidentExecutors
    progress: Callable[[int], None] | None = None
    tokens: TokenSink | None = None
    workers = 1
    deaths = 0

    @property
    def unit_tokens(self) -> int:
        with self.residents.loaded(self) as executor:
            return executor.unit_tokens

    @property
    def environments(self) -> tuple[ReplayEnvironment, ...]:
        with self.residents.loaded(self) as executor:
            return executor.environments

    @property
    def is_loaded(self) -> bool:
        """True if the model is in memory now."""
        return self.residents.holds(self)

    def load(self) -> None:
        """Load the model, unless it is loaded."""
        with self.residents.loaded(self):
            pass

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]:
        """Judge units, one after another."""
        with self.residents.loaded(self) as executor:
            executor.progress, executor.tokens = self.progress, self.tokens
            yield from executor.summaries(units)

    def judge(self, records: Sequence[Record]) -> Judgement:
        """Judge records (`Executor`)."""
        with self.residents.loaded(self) as executor:
            return executor.judge(records)

    def close(self) -> None:
        """Free the model, if it is loaded."""
        self.residents.close(self)
