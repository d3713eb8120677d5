"""The Ray cluster: the one at an address, or one on this machine that starts and ends with the run."""

import logging
import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from weightwarden.errors import WeightwardenError
from weightwarden.extras import needs_extra
from weightwarden.text import first_line

CORES_A_WORKER = 8
"""Default number of cores per worker without a GPU, when the number of workers is not given."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Shared memory of a Ray on this machine, in bytes. Units and summaries are small."""


_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage report leaves this machine
    "RAY_worker_niceness": "0",  # Ray lowers its workers' priority; a run's own Ray has no other work
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # Ray's messages about dead workers would go to standard output, into the report
}


class ClusterError(WeightwardenError, ConnectionError):
    """There is no Ray at the address, or it lacks the resources that the workers need."""


@dataclass(frozen=True)
class Node:
    """Resources of a node of a cluster."""

    cpus: float
    gpus: float


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of the workers.

    Attributes:
        workers: number of workers.
        threads: threads of each worker.
        gpus: GPUs of each worker; 0.5 lets two workers share one.
    """

    workers: int
    threads: int
    gpus: float


def imported(*, own: bool) -> Any:
    """The `ray` module, which reads its environment at import.

    Args:
        own: prepare the environment for a Ray that is started here.

    Raises:
        MissingExtra: ray is not installed.
    """
    os.environ.update(_ENVIRONMENT)
    if own and "ray" not in sys.modules:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with needs_extra("ray"):
        import ray
    return ray


@dataclass
class Cluster:
    """A connection to a Ray.

    Attributes:
        ray: the `ray` module.
        owned: whether the connection was made here, and ends here.
    """

    ray: Any
    owned: bool

    @classmethod
    def connect(cls, address: str | None) -> "Cluster":
        """Connect to the Ray at an address, or start one here.

        A Ray that is started here listens on all addresses of this machine. A random token, known only to this user's
        processes, keeps others out. If this process is connected to a Ray already, that one is used unchanged.

        Raises:
            MissingExtra: ray is not installed.
            ClusterError: there is no Ray at the address.
        """
        ray = imported(own=address is None)
        if ray.is_initialized():
            return cls(ray, owned=False)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address is None:
            options |= {
                "address": "local",  # overrides the address in RAY_ADDRESS
                "num_cpus": len(os.sched_getaffinity(0)),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(f"no Ray at {address or 'this machine'}: {first_line(error)}") from error
        return cls(ray, owned=True)

    def nodes(self) -> list[Node]:
        """The living nodes."""
        return [
            Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def close(self) -> None:
        """End the connection, and the Ray if it was started here."""
        if self.owned:
            self.ray.shutdown()


def layout_of(nodes: list[Node], workers: int | None, gpus: float | None) -> Layout:
    """The layout of workers on nodes.

    Defaults: one worker per GPU, or one per `CORES_A_WORKER` cores; the cores are divided among the workers.

    Raises:
        ClusterError: the nodes do not have room for so many workers.
    """
    if gpus is None:
        gpus = 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0
    if workers is None:
        room = sum(int(node.gpus / gpus) if gpus else max(1, int(node.cpus) // CORES_A_WORKER) for node in nodes)
        workers = max(1, room)
    for threads in range(max(1, int(sum(node.cpus for node in nodes)) // workers), 0, -1):
        held = sum(int(min(node.cpus // threads, node.gpus / gpus if gpus else node.cpus)) for node in nodes)
        if held >= workers:
            return Layout(workers=workers, threads=threads, gpus=gpus)
    raise ClusterError(
        f"{workers} workers with a core and {gpus:g} GPUs each do not fit on"
        f" {', '.join(f'{node.cpus:g} cores and {node.gpus:g} GPUs' for node in nodes) or 'no node'}"
    )
