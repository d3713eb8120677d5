"""The begin of a worker: the message that the main process sends it first, over their private link."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from weightwarden.logger.sidecar.settings import Settings


@dataclass(frozen=True, kw_only=True)
class WorkerStart:
    """The begin of a worker. It holds the seed key, so that it is sent over the link alone.

    Attributes:
        settings: the sidecar's settings.
        worker: number of the worker, from 1 on. The one that takes its place has the same number.
        seed_key: the seed key, in hex.
        origin: the log's name.
        nonce: random bytes of this start and this process, in hex.
        nonces: nonce of every start, in hex.
        created: Unix time of the sidecar's start, seconds.
        listening: descriptor of the socket for clients; None with a gate.
        link: path of the Unix socket to which the gate connects; None without one.
    """

    settings: Settings
    worker: int
    seed_key: str
    origin: str
    nonce: str
    nonces: dict[int, str]
    created: int
    listening: int | None = None
    link: str | None = None

    def encode(self) -> bytes:
        """The message."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def decode(cls, content: bytes) -> "WorkerStart":
        """The begin in a message of the main process."""
        return _ADAPTER.validate_json(content)

    def __repr__(self) -> str:
        return f"<WorkerStart of worker {self.worker}>"


_ADAPTER: TypeAdapter[WorkerStart] = TypeAdapter(WorkerStart)
