"""A log that a cosigner has cosigned, without a sidecar around it."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN
from tests.logger.witness import StrictWitness
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.checkpointer import Checkpointer
from weightwarden.logger.sidecar.log.cosigner import Cosigner
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.store.mark import MarkFile
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.cosignature import WitnessKey, WitnessKeys


@dataclass
class Clock:
    """A clock for waits, moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Cosigning:
    """An open log with its checkpointer and cosigner.

    Attributes:
        said: what the cosigner reported.
        clock: the clock of its waits.
    """

    writer: LogWriter
    checkpointer: Checkpointer
    cosigner: Cosigner
    said: io.StringIO
    clock: Clock
    metrics: Metrics = field(repr=False)

    def append(self, count: int) -> None:
        """Append the next records."""
        for entry in ENTRIES[self.writer.size : self.writer.size + count]:
            self.writer.append(entry).result(60)

    def notarize(self) -> None:
        """Sign and cosign."""
        self.checkpointer.certify()
        self.cosigner.cosign(self.checkpointer.newest)

    def grow(self, count: int) -> None:
        """Append, sign and cosign."""
        self.append(count)
        self.notarize()

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The reported failures."""
        events = [json.loads(line) for line in self.said.getvalue().splitlines()]
        return [one for one in events if one["event"] == "witness failed"]

    def recorded(self) -> dict[int, list[str]]:
        """Names of the witnesses whose cosignatures are recorded, by size."""
        found = LogReader(self.checkpointer.url).cosignatures(0)
        return {size: [key.partition("+")[0] for key, _ in lines] for size, lines in found.items()}

    def failed(self, cause: str, witness: int = 1) -> float:
        """The count of failures in the metrics."""
        registry: CollectorRegistry = self.metrics.registry
        labels = {"witness": str(witness), "cause": cause}
        return registry.get_sample_value("weightwarden_sidecar_witness_failures_total", labels) or 0.0


def keys_of(witnesses: Sequence[StrictWitness]) -> WitnessKeys:
    return WitnessKeys(*(WitnessKey.parse(one.vkey) for one in witnesses))


@contextmanager
def cosigning(
    folder: Path, *witnesses: StrictWitness, timeout: float = 10.0, archives: str | None = None, min_witnesses: int = 0
) -> Iterator[Cosigning]:
    """A log in a folder with its witnesses, which listen."""
    said, clock, metrics = io.StringIO(), Clock(), Metrics()
    url = str(folder / "log.db")
    with LogWriter.open(url, origin=ORIGIN) as writer:
        checkpointer = Checkpointer(
            url=url,
            log=writer,
            signers=[KEY],
            mark=MarkFile(folder / "mark", ORIGIN),
            archives=archives,
            min_witnesses=min_witnesses,
        )
        checkpointer.check()
        cosigner = Cosigner(
            url=url,
            log=writer,
            public_keys=KEYS,
            urls=[one.url for one in witnesses],
            witness_keys=keys_of(witnesses),
            timeout=timeout,
            metrics=metrics,
            events=Events(said),
            monotonic=clock,
        )
        yield Cosigning(writer, checkpointer, cosigner, said, clock, metrics)
