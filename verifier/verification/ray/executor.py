"""The executor whose workers are Ray actors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.executor import WorkersKilled
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.ray.cluster import Cluster, layout_of
from weightwarden.verifier.verification.ray.pool import WorkerPool
from weightwarden.verifier.verification.ray.worker import Load, Ready
from weightwarden.verifier.verification.summary import Summary, UnverifiableRecord
from weightwarden.verifier.verification.token_frame import TokenSink
from weightwarden.verifier.verification.work_unit import WorkUnit, work_units


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """Facts about the workers' replayer (`ReplayFacts`); `device` lists each device once."""

    implementation: str
    dtype: str
    device: str
    identity: ModelIdentity
    tokenizer: Tokenizer

    @classmethod
    def of(cls, workers: Sequence[Ready]) -> "WorkerFacts":
        """The facts of workers that are ready. The tokenizer, which only reports need, is read here.

        Raises:
            ModelError: this machine does not have the model's folder.
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
    """The `Executor` whose workers are Ray actors, each of which replays in a separate process.

    The report equals that of a single process: the units are the same, each unit is replayed whole on one worker, and
    summaries can be merged in any order.

    Attributes:
        ready: the workers at the start.
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
            MissingExtra: ray is not installed.
            ClusterError: there is no Ray at the address, or it is too small.
            WorkerFailed: a worker cannot load the model.
            WorkersDiffer: the workers have not loaded the same model.
        """
        self.policy = policy
        self.progress: Callable[[int], None] | None = None
        self.tokens: TokenSink | None = None
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
    def environments(self) -> tuple[ReplayEnvironment, ...]:
        found: list[ReplayEnvironment] = []
        for worker in self.ready:
            if worker.environment not in found:
                found.append(worker.environment)
        return tuple(found)

    @property
    def workers(self) -> int:
        return len(self.ready)

    @property
    def deaths(self) -> int:
        """Number of workers that died."""
        return 0 if self._pool is None else self._pool.deaths

    def close(self) -> None:
        """End the workers, and the Ray if it was started here."""
        if self._pool is not None:
            self._pool.close()
        self._cluster.close()

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]:
        """Summaries of units and of unverifiable records, in the order in which they are ready."""
        tokens = self.tokens
        for result in self._running.run(units, "summary" if tokens is None else "judgement"):
            if isinstance(result, UnverifiableRecord):
                if tokens is not None:
                    tokens.skip(result.place)
                bets = len(self.policy.likelihood_ratio_bets)
                yield Summary.of_unverifiable(result, self.replayer.identity.vocabulary, bets)
                continue
            unit, summary = result
            if tokens is not None:
                tokens.add(unit.places, unit.records, summary)
                summary = Summary.of(unit, summary)
            if self.progress is not None:
                self.progress(unit.tokens)
            yield summary

    def judge(self, records: Sequence[Record]) -> Judgement:
        """Judge records, on all workers at once.

        Raises:
            WorkersKilled: some records crashed the workers that replayed them. The verdicts of the others are lost.
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
