"""Cosigner of the sidecar: has the log's newest checkpoint cosigned by witnesses, and records their cosignatures."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from weightwarden.errors import WeightwardenError
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.log.consistency import proof_of_growth
from weightwarden.logger.sidecar.log.witness_client import CAUSES, WitnessClient, WitnessFailure, checked_url
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.cosignature import WitnessKeys
from weightwarden.logger.tlog.keys import PublicKeys

FIRST_WAIT, MAX_WAIT = 1.0, 600.0
"""Seconds in which a witness that failed gets no checkpoint, doubled with each failure."""


@dataclass
class _Witness:
    """A witness and its state.

    Attributes:
        client: its client.
        failures: number of failures in a row.
        cause: cause of the last failure; None after a success.
        not_before: monotonic time before which it gets no checkpoint, seconds.
    """

    client: WitnessClient
    failures: int = 0
    cause: str | None = None
    not_before: float = float("-inf")


@dataclass
class Cosigner:
    """Sender of recorded checkpoints to witnesses. A failing witness stops nothing.

    A failure is reported when it begins, when its cause changes, and when it ends.

    A checkpoint is sent only after it was recorded: a witness never has more of the log than the database.

    Attributes:
        url: the log's database.
        log: the writer.
        public_keys: public keys of the log.
        urls: the witnesses' submission prefixes.
        witness_keys: the listed witnesses; None without witnesses.
        timeout: seconds that an answer of a witness may take.
        clock: Unix time, seconds.
        monotonic: clock for waits, seconds.
    """

    url: str
    log: LogWriter
    public_keys: PublicKeys
    urls: Sequence[str]
    witness_keys: WitnessKeys | None
    timeout: float
    metrics: Metrics
    events: Events
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _witnesses: list[_Witness] = field(default_factory=list, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.witness_keys is not None:
            self._witnesses = [
                _Witness(WitnessClient(checked_url(url, number), self.witness_keys, self.clock))
                for number, url in enumerate(self.urls, 1)
            ]
        for number, _ in enumerate(self._witnesses, 1):
            self.metrics.witness_time.labels(str(number)).set(self.clock())
            for cause in CAUSES:  # a series that begins with its first failure has no increase
                self.metrics.witness_failures.labels(str(number), cause)

    def cosign(self, newest: tuple[Checkpoint, bytes] | None) -> None:
        """Have the newest recorded checkpoint cosigned by the witnesses that have not cosigned it yet. It blocks.

        All witnesses are asked at once. It takes at most twice `timeout` seconds, and the time for their proofs.

        Args:
            newest: the checkpoint and its note; None before the first.
        """
        with self._turn:
            now, size = self.monotonic(), newest[0].size if newest is not None else 0
            waiting = []
            for number, witness in enumerate(self._witnesses, 1):
                if size <= (witness.client.size or 0):
                    self.metrics.witness_time.labels(str(number)).set(self.clock())
                elif now >= witness.not_before:
                    waiting.append((number, witness))
            if newest is not None and waiting:
                asyncio.run(self._round(*newest, waiting))

    async def _round(self, checkpoint: Checkpoint, note: bytes, waiting: Sequence[tuple[int, _Witness]]) -> None:
        async with aiohttp.ClientSession(
            headers={"content-type": "application/octet-stream", "accept-encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            auto_decompress=False,
            trust_env=False,
        ) as http:
            await asyncio.gather(*(self._one(http, checkpoint, note, number, one) for number, one in waiting))

    async def _one(
        self, http: aiohttp.ClientSession, checkpoint: Checkpoint, note: bytes, number: int, witness: _Witness
    ) -> None:
        try:
            reader = LogReader(self.url)
            found = await witness.client.cosign(
                http,
                checkpoint,
                note,
                lambda old, new: proof_of_growth(reader, old, new, self.public_keys),
                reader.has_checkpoint,
            )
            for one in found:
                await asyncio.to_thread(self.log.add_cosignature, checkpoint.size, str(one.witness), str(one.line))
        except WitnessFailure as failure:
            self._failed(number, witness, failure)
        except WeightwardenError as error:
            self._failed(number, witness, WitnessFailure("log", f"not recorded: {error}"))
        except Exception as error:  # any exception type: a witness's answer must not end the sealing
            self.events.defect(error)
            self._failed(number, witness, WitnessFailure("answer", f"an internal error: {type(error).__name__}"))
        else:
            witness.client.size = checkpoint.size
            if witness.cause is not None:
                self.events.say("witness recovered", witness=number)
            witness.failures, witness.cause, witness.not_before = 0, None, float("-inf")
            self.metrics.witness_time.labels(str(number)).set(self.clock())
            self.metrics.witness_size.labels(str(number)).set(checkpoint.size)

    def _failed(self, number: int, witness: _Witness, failure: WitnessFailure) -> None:
        wait = min(FIRST_WAIT * 2**witness.failures, MAX_WAIT)
        witness.failures = min(witness.failures + 1, 32)
        witness.not_before = self.monotonic() + wait
        self.metrics.witness_failures.labels(str(number), failure.cause).inc()
        if failure.cause != witness.cause:
            witness.cause = failure.cause
            self.events.say("witness failed", witness=number, cause=failure.cause, why=str(failure))
