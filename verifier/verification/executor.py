"""The executor protocol: this process, or workers elsewhere, judge work units."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import ReplayFacts
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.work_unit import WorkUnit


class WorkersKilled(WeightwardenError, RuntimeError):
    """Records ended the workers that replayed them. `places`: theirs among those that were to be judged."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(f"{len(places)} records ended the workers that replayed them")
        self.places = places


class Executor(Protocol):
    """Judges records under a policy.

    `summaries` gives a summary of every unit, in whatever order and grouping, and may leave a record without a verdict
    only by saying so (`Summary.unverifiable`). `judge` judges records at once, and raises where one has no verdict.
    What they say of a record does not depend on the number of `workers`, nor on their `deaths`. `replayer` says what
    replays, and `unit_tokens` which units suit it. `progress` is called with the number of output tokens replayed.
    """

    progress: Callable[[int], None] | None

    @property
    def policy(self) -> BasePolicy: ...

    @property
    def replayer(self) -> ReplayFacts: ...

    @property
    def unit_tokens(self) -> int: ...

    @property
    def workers(self) -> int: ...

    @property
    def deaths(self) -> int: ...

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]: ...

    def judge(self, records: Sequence[Record]) -> Judgement: ...

    def close(self) -> None: ...
