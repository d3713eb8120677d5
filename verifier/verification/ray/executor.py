"""The engine whose workers are Ray's."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.executor import WorkersKilled
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.ray.cluster import Cluster, layout_of
from weightwarden.verifier.verification.ray.pool import WorkerPool
from weightwarden.verifier.verification.ray.worker import Load, Ready
from weightwarden.verifier.verification.summary import Summary, UnverifiableRecord
from weightwarden.verifier.verification.work_unit import WorkUnit, work_units


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """What replays on the workers (`ReplayFacts`); `device`: each one's, once."""

    implementation: str
    dtype: str
    device: str
    identity: ModelIdentity
    tokenizer: Tokenizer

    @classmethod
    def of(cls, workers: Sequence[Ready]) -> "WorkerFacts":
        """Of workers that are ready. The tokenizer, for reports alone, is read here.

        Raises:
            ModelError: the model's folder is not here, too.
        """
        first = workers[0]
        return cls(
            implementation=first.implementation,
            dtype=first.dtype,
            device=", ".join(sorted({worker.device for worker in workers})),
            identity=first.identity,
            tokenizer=load_tokenizer(first.identity),
        )


class RayExecutor:
    """The `Executor` whose workers are Ray actors: each replays on its own, in its own process, wherever Ray puts it.

    The report is the one of a single process: units are the same ones, each is replayed whole on one worker, and
    summaries are merged in whatever order they come.

    Attributes:
        ready: the workers as they were at the start.
    """

    def __init__(
        self,
        load: Load,
        policy: BasePolicy,
        max_model_length: int | None = None,
        *,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        say: Callable[[str], None] = lambda what: None,
    ) -> None:
        """Connect, start the workers, and wait until all have loaded the model.

        Raises:
            MissingExtra: ray is not installed. ClusterError: no Ray there, or too small a one.
            WorkerFailed, WorkersDiffer: the workers cannot replay.
        """
        self.policy = policy
        self.progress: Callable[[int], None] | None = None
        self._cluster = Cluster.connect(address)
        self._pool: WorkerPool | None = None
        try:
            layout = layout_of(self._cluster.nodes(), workers, gpus_per_worker)
            self._pool = WorkerPool(self._cluster, layout, (load, policy, max_model_length), say)
            self.ready = self._pool.start()
            self.replayer = WorkerFacts.of(self.ready)
        except BaseException:
            self.close()
            raise

    @property
    def unit_tokens(self) -> int:
        return self.ready[0].unit_tokens

    @property
    def workers(self) -> int:
        return len(self.ready)

    @property
    def deaths(self) -> int:
        """Workers that died."""
        return 0 if self._pool is None else self._pool.deaths

    def close(self) -> None:
        """End the workers, and a Ray that was started here."""
        if self._pool is not None:
            self._pool.close()
        self._cluster.close()

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]:
        """Summaries of units and of records that were set aside, as they come."""
        for result in self._running.run(units, "summary"):
            if isinstance(result, UnverifiableRecord):
                yield Summary.of_unverifiable(result, self.replayer.identity.vocabulary)
                continue
            unit, summary = result
            if self.progress is not None:
                self.progress(unit.tokens)
            yield summary

    def judge(self, records: Sequence[Record]) -> Judgement:
        """Judge records, on all workers at once.

        Raises:
            KillsWorkers: some ended the workers that replayed them; what was found of the others is lost.
        """
        parts: list[tuple[Sequence[int], Judgement]] = []
        killers: list[int] = []
        for result in self._running.run(work_units(records, self.unit_tokens), "judgement"):
            if isinstance(result, UnverifiableRecord):
                killers.append(result.place)
            else:
                parts.append((result[0].places, result[1]))
        if killers:
            raise WorkersKilled(sorted(killers))
        return Judgement.concat(parts)

    @property
    def _running(self) -> WorkerPool:
        assert self._pool is not None
        return self._pool
