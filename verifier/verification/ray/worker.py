"""A Ray worker: an actor that loads the model once, and judges the units that it is given.

Records travel as their canonical bytes, which the worker parses as strictly as it would from an archive; what else
travels between driver and workers are objects of this project. Exceptions come back as text.
"""

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
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.verifier import Verifier
from weightwarden.verifier.verification.work_unit import WorkUnit

Result = TypeVar("Result")
Load = Callable[[int], Replayer]
"""Loads the replayer of the worker with that number. Must be importable where the workers are."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a worker that has loaded the model says of itself; the fields of `Replayer`, and where it runs."""

    implementation: str
    dtype: str
    device: str
    identity: ModelIdentity
    unit_tokens: int
    host: str
    process: int

    @property
    def name(self) -> str:
        """Where it runs, for messages."""
        return f"process {self.process} on {self.host}"

    @property
    def computes(self) -> tuple[str, str, str, int]:
        """What must be the same on all workers."""
        return self.implementation, self.dtype, self.identity.digest, self.unit_tokens


@dataclass(frozen=True)
class Failed:
    """What went wrong in a worker that lives on: in one line, or for a defect with its traceback."""

    what: str
    defect: bool


@dataclass(frozen=True)
class SentUnit:
    """A work unit as it travels: places, and canonical bytes of records."""

    places: list[int]
    entries: list[bytes]

    @property
    def records(self) -> list[Record]:
        return [decode_record(entry) for entry in self.entries]


class ReplayWorker:
    """A worker. Made without work, so that whatever fails can be said: `start` loads the model."""

    def __init__(self, load: Load, policy: BasePolicy, max_model_length: int | None, threads: int) -> None:
        self._load, self._policy, self._max_model_length, self._threads = load, policy, max_model_length, threads
        self._verifier: Verifier | None = None

    def start(self, number: int) -> Ready | Failed:
        """Load the model, with so many threads to compute."""
        return _told(lambda: self._start(number))

    def summary(self, unit: SentUnit) -> Summary | Failed:
        """Judge a unit, and say what is kept of it. The process ends with a server of its own that ended."""

        def work() -> Summary:
            records = unit.records
            return Summary.of(WorkUnit(unit.places, records), self._judged(records))

        return _told(_or_die(work))

    def judgement(self, unit: SentUnit) -> Judgement | Failed:
        """Judge a unit, and say all; otherwise as `summary`."""
        return _told(_or_die(lambda: self._judged(unit.records)))

    def _start(self, number: int) -> Ready:
        os.environ["OMP_NUM_THREADS"] = str(self._threads)
        replayer = self._load(number)
        if "torch" in sys.modules:  # an HTTP client does without
            sys.modules["torch"].set_num_threads(self._threads)
        self._verifier = Verifier(replayer, self._policy, self._max_model_length)
        return Ready(
            implementation=replayer.implementation,
            dtype=replayer.dtype,
            device=replayer.device,
            identity=replayer.identity,
            unit_tokens=replayer.unit_tokens,
            host=socket.gethostname(),
            process=os.getpid(),
        )

    def _judged(self, records: Sequence[Record]) -> Judgement:
        assert self._verifier is not None
        return self._verifier.judge(records)


def _or_die(work: Callable[[], Result]) -> Callable[[], Result]:
    """Work that ends this process where the server that it started has ended: for the pool, records that end servers
    and records that end workers are the same."""

    def tried() -> Result:
        try:
            return work()
        except ReplayServerEnded as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)

    return tried


def _told(work: Callable[[], Result]) -> Result | Failed:
    """What work comes to, or how it failed."""
    try:
        return work()
    except WeightwardenError as error:
        return Failed(first_line(error), defect=False)
    except Exception:
        return Failed(traceback.format_exc(), defect=True)
