"""Pool of Ray workers that may die: units are replayed again, until the record that crashes workers is found.

Ray Data's actor pool is not used. It resubmits a dead actor's block silently, so that a record that crashes its worker
would crash every one. With resubmission off, it can only drop the whole block, and may then wait for ever for an actor
that it does not replace (ray issue 62746). Here the driver gives each worker one unit, sees each death, and knows which
unit was being replayed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.verifier.verification.ray.cluster import Cluster, Layout
from weightwarden.verifier.verification.ray.worker import Failed, Ready, ReplayWorker, SentUnit
from weightwarden.verifier.verification.summary import UnverifiableRecord
from weightwarden.verifier.verification.work_unit import WorkUnit

MAX_DEATHS = 2
"""Workers that a unit may crash before it is halved, and a single record before it is unverifiable."""
MAX_FAILED_STARTS = 3
"""Workers that may die in succession, in one place of the pool, while they load the model."""
SILENCE_SECONDS = 300.0
"""Time without an answer after which the pool reports that no worker can be started."""


class WorkerFailed(WeightwardenError, RuntimeError):
    """A worker could not do its task, and reported the reason."""


class WorkersDiffer(WeightwardenError, ValueError):
    """Workers have loaded different models, or compute in different ways."""


class WorkerDefect(RuntimeError):
    """An unexpected error in a worker, with the worker's traceback."""


@dataclass
class Job:
    """A unit under way.

    Attributes:
        deaths: workers that the unit has crashed.
        abandoned: whether the result is no longer needed.
    """

    unit: WorkUnit
    deaths: int = 0
    abandoned: bool = False


@dataclass
class Worker:
    """One place of the pool.

    Attributes:
        number: number of the place.
        actor: the actor in the place.
        ready: facts about the actor once it has loaded the model.
        failed_starts: successive deaths during the start.
    """

    number: int
    actor: Any
    ready: Ready | None = None
    failed_starts: int = 0


@dataclass
class WorkerPool:
    """A fixed number of workers, each of which is replaced when it dies.

    Attributes:
        cluster: the Ray cluster of the workers.
        layout: number and resources of the workers.
        arguments: arguments of `ReplayWorker`, except the number of threads.
        say: called with a message about each death.
        deaths: number of workers that died.
    """

    cluster: Cluster
    layout: Layout
    arguments: tuple[Any, ...]
    say: Callable[[str], None]
    deaths: int = 0
    _actors: Any = None
    _workers: list[Worker] = field(default_factory=list)
    _running: dict[Any, tuple[Worker, Job | None]] = field(default_factory=dict)

    def start(self) -> list[Ready]:
        """Start all workers, and return their facts once all have loaded the model.

        Raises:
            WorkerFailed: a worker cannot load the model.
            WorkersDiffer: the workers have not loaded the same model.
        """
        for number in range(self.layout.workers):
            self._workers.append(Worker(number, None))
            self._begin(self._workers[-1])
        while any(worker.ready is None for worker in self._workers):
            for worker, _, answer in self._answers():
                self._started(worker, answer)
        return [worker.ready for worker in self._workers if worker.ready is not None]

    def run(self, units: Iterable[WorkUnit], method: str) -> Iterator[tuple[WorkUnit, Any] | UnverifiableRecord]:
        """Results of the workers' `method` on units, in any order. Units are taken when workers become free.

        1. Give work to every free worker, and keep more units at hand.
        2. Wait for an answer. A death is reported, and its unit goes to other workers: whole at first, then in halves,
           until the record that crashes workers is alone. That record is unverifiable.

        Raises:
            WorkerFailed: a worker failed, and lives.
            WorkerDefect: a worker met an unexpected error.
        """
        try:
            yield from self._run(iter(units), method)
        finally:  # workers finish the units they have
            for _, job in self._running.values():
                if job is not None:
                    job.abandoned = True

    def _run(self, left: Iterator[WorkUnit], method: str) -> Iterator[tuple[WorkUnit, Any] | UnverifiableRecord]:
        at_hand: deque[Job] = deque()
        again: deque[Job] = deque()
        exhausted = False
        while True:
            # 1
            busy = {worker.number for worker, _ in self._running.values()}
            free = [worker for worker in self._workers if worker.number not in busy]
            while not exhausted and len(at_hand) + len(again) < len(free):
                exhausted = not self._take(left, at_hand)
            for worker in free:
                if again or at_hand:
                    self._give(worker, again.popleft() if again else at_hand.popleft(), method)
            while not exhausted and len(at_hand) < len(self._workers):
                exhausted = not self._take(left, at_hand)
            waited_for = any(job is not None and not job.abandoned for _, job in self._running.values())
            if not (waited_for or again or at_hand):
                return
            # 2
            for worker, job, answer in self._answers():
                if job is None:
                    self._started(worker, answer)
                elif job.abandoned:
                    continue
                elif answer is not None:
                    yield job.unit, _checked(answer)
                else:
                    again.extend(self._after_death(job))
                    if len(job.unit) == 1 and job.deaths == MAX_DEATHS:
                        record = job.unit.records[0]
                        why = "it ended every worker that replayed it"
                        yield UnverifiableRecord(job.unit.places[0], len(record.output_token_ids), job.deaths, why)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            self._end(worker)
        self._workers, self._running = [], {}

    @staticmethod
    def _take(left: Iterator[WorkUnit], at_hand: deque[Job]) -> bool:
        """Take one more unit; False when there is none."""
        unit = next(left, None)
        if unit is not None:
            at_hand.append(Job(unit))
        return unit is not None

    def _begin(self, worker: Worker) -> None:
        """Put a new actor in a place of the pool, and start to load its model."""
        threads, gpus = self.layout.threads, self.layout.gpus
        if self._actors is None:
            self._actors = self.cluster.ray.remote(ReplayWorker).options(
                num_cpus=threads, num_gpus=gpus, max_restarts=0, max_task_retries=0
            )
        worker.actor, worker.ready = self._actors.remote(*self.arguments, threads), None
        self._running[worker.actor.start.remote(worker.number)] = worker, None

    def _give(self, worker: Worker, job: Job, method: str) -> None:
        unit = SentUnit(list(job.unit.places), [encode_record(record) for record in job.unit.records])
        self._running[getattr(worker.actor, method).remote(unit)] = worker, job

    def _answers(self) -> Iterator[tuple[Worker, Job | None, Any]]:
        """Wait for the next answers. None stands for a worker's death, after which a new worker is started."""
        ray = self.cluster.ray
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=SILENCE_SECONDS)
        if not done and all(job is None for _, job in self._running.values()):
            self.say(
                f"no worker has started for {SILENCE_SECONDS:.0f} s: is there room on the cluster, or does a server"
                " of a worker take so long?"
            )
        for reference in done:
            worker, job = self._running.pop(reference)
            answer = None
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise WorkerDefect(str(error)) from None
            except ray.exceptions.RayError as error:
                self._died(worker, job, type(error).__name__)
            yield worker, job, answer

    def _died(self, worker: Worker, job: Job | None, how: str) -> None:
        """Report a worker's death, and put another worker in its place."""
        self.deaths += 1
        name = f"worker {worker.number}" if worker.ready is None else f"worker {worker.number} ({worker.ready.name})"
        doing = "loaded the model" if job is None else f"replayed {len(job.unit)} records"
        self.say(f"{name} died while it {doing} ({how}); another takes its place")
        worker.failed_starts += job is None
        self._end(worker)
        if worker.failed_starts == MAX_FAILED_STARTS:
            raise WorkerFailed(
                f"{MAX_FAILED_STARTS} workers died one after another while they loaded the model: is there too little"
                " memory for so many?"
            )
        self._begin(worker)

    def _started(self, worker: Worker, answer: Any) -> None:
        """Register a worker that has loaded the model. None stands for one that died."""
        if answer is None:
            return
        ready: Ready = _checked(answer)
        for other in self._workers:
            if other.ready is not None and other.ready.computes != ready.computes:
                raise WorkersDiffer(f"workers differ: {ready.name}: {ready.computes}, not {other.ready.computes}")
        worker.ready, worker.failed_starts = ready, 0

    def _after_death(self, job: Job) -> list[Job]:
        """The jobs to replay after a unit has crashed a worker."""
        job.deaths += 1
        if job.deaths < MAX_DEATHS:
            return [job]
        if len(job.unit) == 1:
            return []
        self.say(f"these {len(job.unit)} records ended {job.deaths} workers: they are replayed in halves")
        # A half of several records is known to be suspect; a single record has crashed no worker yet.
        return [Job(half, 0 if len(half) == 1 else MAX_DEATHS - 1) for half in job.unit.halves()]

    def _end(self, worker: Worker) -> None:
        if worker.actor is not None:
            self.cluster.ray.kill(worker.actor, no_restart=True)


def _checked(answer: Any) -> Any:
    """The answer of a worker that did its task."""
    if not isinstance(answer, Failed):
        return answer
    raise WorkerDefect(answer.what) if answer.defect else WorkerFailed(f"a worker: {answer.what}")
