"""A Ray worker: an actor that loads the model once, and judges the units that it receives.

Records are sent as their canonical bytes, which the worker parses as strictly as it would from an archive. All other
objects between driver and workers are objects of this project. Exceptions are returned as text.
"""

import hashlib
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.text import first_line
from weightwarden.verifier.errors import ReplayServerEnded
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment, environment_of
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.verifier import Verifier
from weightwarden.verifier.verification.work_unit import WorkUnit

Result = TypeVar("Result")
Load = Callable[[int], Replayer]
"""Loads the replayer of the worker with that number. Must be importable on the workers' machines."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Facts about a worker that has loaded the model: the fields of `Replayer`, and the worker's location."""

    implementation: str
    dtype: str
    device: str
    identity: ModelIdentity
    unit_tokens: int
    environment: ReplayEnvironment
    host: str
    process: int

    @property
    def name(self) -> str:
        """Location of the worker, for messages."""
        return f"process {self.process} on {self.host}"

    @property
    def computes(self) -> tuple[str, str, str, str, int]:
        """The facts that must be the same on all workers."""
        return self.implementation, self.dtype, self.identity.digest, self._adapters, self.unit_tokens

    @property
    def _adapters(self) -> str:
        """The adapters in a few words, which differ where the adapters do."""
        digests = sorted(self.identity.adapters)
        return f"{len(digests)} adapters ({hashlib.sha256(''.join(digests).encode()).hexdigest()[:12]})"


@dataclass(frozen=True)
class Failed:
    """An error in a worker that lives on: in one line, or with its traceback for a defect."""

    what: str
    defect: bool


@dataclass(frozen=True)
class SentUnit:
    """A work unit in transit: places, and canonical bytes of records."""

    places: list[int]
    entries: list[bytes]

    @property
    def records(self) -> list[Record]:
        return [decode_record(entry) for entry in self.entries]


class ReplayWorker:
    """A worker. The constructor does no work, so that every failure can be reported: `start` loads the model."""

    def __init__(self, load: Load, policy: BasePolicy, max_model_length: int | None, threads: int) -> None:
        self._load, self._policy, self._max_model_length, self._threads = load, policy, max_model_length, threads
        self._verifier: Verifier | None = None

    def start(self, number: int) -> Ready | Failed:
        """Load the model, with `threads` threads for computation."""
        return _told(lambda: self._start(number))

    def summary(self, unit: SentUnit) -> Summary | Failed:
        """Judge a unit, and return its summary. The process ends if the server that it started has ended."""

        def work() -> Summary:
            records = unit.records
            return Summary.of(WorkUnit(unit.places, records), self._judged(records))

        return _told(_or_die(work))

    def judgement(self, unit: SentUnit) -> Judgement | Failed:
        """Judge a unit, and return the whole judgement. Otherwise like `summary`."""
        return _told(_or_die(lambda: self._judged(unit.records)))

    def _start(self, number: int) -> Ready:
        os.environ["OMP_NUM_THREADS"] = str(self._threads)
        replayer = self._load(number)
        if "torch" in sys.modules:  # a replayer over HTTP does not need torch
            sys.modules["torch"].set_num_threads(self._threads)
        self._verifier = Verifier(replayer, self._policy, self._max_model_length)
        return Ready(
            implementation=replayer.implementation,
            dtype=replayer.dtype,
            device=replayer.device,
            identity=replayer.identity,
            unit_tokens=replayer.unit_tokens,
            environment=environment_of(replayer),
            host=socket.gethostname(),
            process=os.getpid(),
        )

    def _judged(self, records: Sequence[Record]) -> Judgement:
        assert self._verifier is not None
        return self._verifier.judge(records)


def _or_die(work: Callable[[], Result]) -> Callable[[], Result]:
    """Run work that ends this process if the server that it started has ended.

    The pool treats records that crash servers like records that crash workers.
    """

    def tried() -> Result:
        try:
            return work()
        except ReplayServerEnded as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)

    return tried


def _told(work: Callable[[], Result]) -> Result | Failed:
    """The result of work, or its `Failed`."""
    try:
        return work()
    except WeightwardenError as error:
        return Failed(first_line(error), defect=False)
    except Exception:
        return Failed(traceback.format_exc(), defect=True)
