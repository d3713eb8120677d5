"""Executor protocol: work units are judged by this process or by workers elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment
from weightwarden.verifier.replay.replay import ReplayFacts
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.token_frame import TokenSink
from weightwarden.verifier.verification.work_unit import WorkUnit


class WorkersKilled(WeightwardenError, RuntimeError):
    """Some records crashed the workers that replayed them.

    Attributes:
        places: places of these records among those to be judged.
    """

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(f"{len(places)} records ended the workers that replayed them")
        self.places = places


class Executor(Protocol):
    """Executor of work units under a policy.

    `summaries` yields one summary per unit, in any order and grouping. A record without a verdict is always listed in
    `Summary.unverifiable`. `judge` judges records at once, and raises if one has no verdict. The result for a record
    depends neither on the number of `workers` nor on their `deaths`.

    `replayer` describes the replayer, and `unit_tokens` is the work unit size that suits it. `environments` are the
    processors and software of the workers, each once. `progress` is called with the number of output tokens replayed.
    `tokens` receives scores and verdicts of every token of `summaries`, if they are requested.
    """

    progress: Callable[[int], None] | None
    tokens: TokenSink | None

    @property
    def policy(self) -> BasePolicy: ...

    @property
    def replayer(self) -> ReplayFacts: ...

    @property
    def environments(self) -> tuple[ReplayEnvironment, ...]: ...

    @property
    def unit_tokens(self) -> int: ...

    @property
    def workers(self) -> int: ...

    @property
    def deaths(self) -> int: ...

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]: ...

    def judge(self, records: Sequence[Record]) -> Judgement: ...

    def close(self) -> None: ...
