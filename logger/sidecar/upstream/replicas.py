"""The servers of one model: which of them is asked, and for how long one that failed is left out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from weightwarden.logger.record import Record
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.errors import UpstreamError, UpstreamRefusal
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.upstream.client import Upstream

BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 300.0
"""Seconds for which a server is left out after a failure, and after many in a row."""


@dataclass
class Replica:
    """One of the servers, and what its requests have shown of it.

    Attributes:
        name: the operator's name for it.
        client: client of the server.
        choices: choices under way.
        unfit: the reason why it could not be asked when it was last checked, or None.
        failures: failures since its last whole answer; those within one backoff are one.
        back_at: time at which its backoff ends, seconds.
        last_chosen: number of the request for which it was last chosen.
    """

    name: str
    client: Upstream
    choices: int = 0
    unfit: str | None = "was not asked yet"
    failures: int = 0
    back_at: float = 0.0
    last_chosen: int = 0


class Replicas:
    """The servers of one model, which draw alike: a request may be given to any of them.

    A request goes to the server with the fewest choices under way; of several to the one that was chosen the longest
    ago. A choice is under way until its answer has left, so that the load is known from the requests and from the
    moments of release. After a failure a server is left out for a time that doubles with each, and is then tried with
    one request. So is one that its last check found unfit. If all are left out, they are chosen from alike.

    Which server answers is on record where there are several, and no client is told.
    """

    def __init__(
        self, replicas: Sequence[Replica], metrics: Metrics, events: Events, clock: Callable[[], float]
    ) -> None:
        """The servers, of which none has failed.

        Args:
            replicas: the servers; their names are distinct.
            metrics: the operator's metrics.
            events: the operator's log.
            clock: a clock that does not jump, seconds.
        """
        self.all = tuple(replicas)
        self._by_name = {self.name(one): one for one in self.all}
        self._metrics, self._events, self._clock = metrics, events, clock
        self._chosen = 0
        for one in self.all:
            if (name := self.name(one)) is not None:
                metrics.replica_choices.labels(name).set_function(partial(getattr, one, "choices"))
                metrics.replica_failures.labels(name)
                metrics.replica_up.labels(name).set(0)

    def name(self, replica: Replica) -> str | None:
        """The name of a server in records, metrics and events; None for the only one."""
        return replica.name if len(self.all) > 1 else None

    def of(self, record: Record) -> Upstream:
        """The client of the server that a record names."""
        return self._by_name[record.replica].client

    @contextmanager
    def chosen(self, choices: int) -> Iterator[str | None]:
        """The name of the server for a request of so many choices, which are under way until the block ends."""
        now = self._clock()
        replica = min(self.all, key=lambda one: (self._is_left_out(one, now), one.choices, one.last_chosen))
        self._chosen += 1
        replica.last_chosen = self._chosen
        replica.choices += choices
        try:
            yield self.name(replica)
        finally:
            replica.choices -= choices

    def _is_left_out(self, replica: Replica, now: float) -> bool:
        is_tried = replica.failures > 0 and replica.choices > 0
        return replica.unfit is not None or now < replica.back_at or is_tried

    def answered(self, record: Record) -> None:
        """Note that the server of a record answered a whole request."""
        self._by_name[record.replica].failures = 0

    def failed(self, record: Record, error: UpstreamError) -> None:
        """Note that the server of a record failed, and leave it out for a time. A refused request is no failure."""
        replica = self._by_name[record.replica]
        name = self.name(replica)
        if name is None or isinstance(error, UpstreamRefusal):
            return
        self._metrics.replica_failures.labels(name).inc()
        now = self._clock()
        if now < replica.back_at:
            return
        seconds = min(BACKOFF_SECONDS * 2**replica.failures, LONGEST_BACKOFF_SECONDS)
        replica.failures += 1
        replica.back_at = now + seconds
        self._events.say("replica failed", replica=name, reason=error.reason, left_out_seconds=seconds)

    def checked(self, replica: Replica, unfit: str | None) -> None:
        """Note what a check of a server has found: the reason why it cannot be asked, or None."""
        if (name := self.name(replica)) is not None:
            self._metrics.replica_up.labels(name).set(unfit is None)
        replica.unfit = unfit

    @property
    def unfit(self) -> bool:
        """True if no server could be asked when it was last checked."""
        return all(one.unfit is not None for one in self.all)
