"""The Ray cluster: the one at an address, or one on this machine that begins and ends with the run."""

import logging
import os
from dataclasses import dataclass
from typing import Any

from sampler.errors import WeightwardenError, first_line
from verifier.errors import MissingExtra

CORES_A_WORKER = 8
"""Cores that a worker without a GPU gets where nobody says how many workers there are."""
OBJECT_STORE_BYTES = 512 * 2**20
"""Shared memory of a Ray on this machine: units and summaries are small."""


class ClusterError(WeightwardenError, ConnectionError):
    """There is no Ray at the address, or it has not what the workers need."""


@dataclass(frozen=True)
class Node:
    """What a node of a cluster has."""

    cpus: float
    gpus: float


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the workers are laid out. `gpus`: of each worker; 0.5 lets two share one. `threads`: of each worker."""

    workers: int
    threads: int
    gpus: float


def imported() -> Any:
    """The `ray` module.

    Raises:
        MissingExtra: not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody; read when ray is imported
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[ray]'") from error
    return ray


@dataclass
class Cluster:
    """A connection to a Ray. `owned`: whether it was made here, and ends here."""

    ray: Any
    owned: bool

    @classmethod
    def connect(cls, address: str | None) -> "Cluster":
        """Connect to the Ray at an address, or start one here, that listens on this machine alone.

        A Ray that this process is connected to already is used as it is.

        Raises:
            MissingExtra: ray is not installed. ClusterError: none there.
        """
        ray = imported()
        if ray.is_initialized():
            return cls(ray, owned=False)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address is None:
            options |= {
                "address": "local",  # not the one that RAY_ADDRESS names
                "num_cpus": len(os.sched_getaffinity(0)),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_node_ip_address": "127.0.0.1",
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
        """End the connection, and a Ray that was started here."""
        if self.owned:
            self.ray.shutdown()


def layout_of(nodes: list[Node], workers: int | None, gpus: float | None) -> Layout:
    """The layout of workers on nodes, filled in where nobody said: one a GPU, or one to `CORES_A_WORKER` cores, and the
    cores divided among them.

    Raises:
        ClusterError: the nodes do not hold so many.
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
