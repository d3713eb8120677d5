"""Metrics of all processes of a sidecar as one: each worker sends snapshots, which the main process pools."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from weightwarden.logger.sidecar.metrics import Metrics


class Pooling(Enum):
    """Rule by which the values of one metric in several processes become one value.

    Attributes:
        TOTAL: the sum over the main process and all workers. What an ended worker counted stays.
        LIVE: the sum over the main process and the workers that run.
        LEAST: the smallest value over the processes that know one (that is not nan).
        MAIN: the main process's value.
    """

    TOTAL = "total"
    LIVE = "live"
    LEAST = "least"
    MAIN = "main"


POOLING: Mapping[str, Pooling] = {
    "weightwarden_sidecar_requests": Pooling.TOTAL,
    "weightwarden_sidecar_ignored_fields": Pooling.TOTAL,
    "weightwarden_sidecar_tokens": Pooling.TOTAL,
    "weightwarden_sidecar_answers": Pooling.TOTAL,
    "weightwarden_sidecar_upstream_failures": Pooling.TOTAL,
    "weightwarden_sidecar_logprobs_requests": Pooling.TOTAL,
    "weightwarden_sidecar_logprobs_prefill_tokens": Pooling.TOTAL,
    "weightwarden_sidecar_logprobs_seconds": Pooling.TOTAL,
    "weightwarden_sidecar_log_failures": Pooling.TOTAL,
    "weightwarden_sidecar_checkpoint_failures": Pooling.TOTAL,
    "weightwarden_sidecar_seal_failures": Pooling.TOTAL,
    "weightwarden_sidecar_seal_seconds": Pooling.TOTAL,
    "weightwarden_sidecar_replica_failures": Pooling.TOTAL,
    "weightwarden_sidecar_witness_failures": Pooling.TOTAL,
    "weightwarden_sidecar_worker_ends": Pooling.TOTAL,
    "weightwarden_sidecar_log_commit_seconds": Pooling.TOTAL,
    "weightwarden_sidecar_first_token_seconds": Pooling.TOTAL,
    "weightwarden_sidecar_choices_in_flight": Pooling.LIVE,
    "weightwarden_sidecar_replica_choices_in_flight": Pooling.LIVE,
    "weightwarden_sidecar_log_writable": Pooling.LEAST,
    "weightwarden_sidecar_log_size": Pooling.MAIN,
    "weightwarden_sidecar_checkpoint_size": Pooling.MAIN,
    "weightwarden_sidecar_unsealed_records": Pooling.MAIN,
    "weightwarden_sidecar_last_checkpoint_timestamp_seconds": Pooling.MAIN,
    "weightwarden_sidecar_last_archive_timestamp_seconds": Pooling.MAIN,
    "weightwarden_sidecar_free_bytes": Pooling.MAIN,
    "weightwarden_sidecar_upstream_up": Pooling.MAIN,
    "weightwarden_sidecar_replica_up": Pooling.MAIN,
    "weightwarden_sidecar_build_info": Pooling.MAIN,
    "weightwarden_sidecar_engine_info": Pooling.MAIN,
    "weightwarden_sidecar_witness_last_cosignature_timestamp_seconds": Pooling.MAIN,
    "weightwarden_sidecar_witness_size": Pooling.MAIN,
    "weightwarden_sidecar_workers": Pooling.MAIN,
}
"""Rule of each metric. The main process alone checks the servers, has the log, and signs and seals it."""

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
"""Suffixes of the samples that are pooled, by a metric's type. The time at which a series began is not."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name of a sample, and its labels in order."""
Number = float | Fraction


def snapshot(registry: CollectorRegistry) -> list[dict[str, Any]]:
    """The pooled metrics of a worker, as JSON can hold them. Values that it does not know (nan) are left out."""
    return [
        {
            "name": family.name,
            "samples": [
                {"name": sample.name, "labels": sample.labels, "value": sample.value}
                for sample in family.samples
                if sample.name in _sample_names(family) and math.isfinite(sample.value)
            ],
        }
        for family in registry.collect()
        if POOLING[family.name] is not Pooling.MAIN
    ]


class _Counted(NamedTuple):
    """The values of workers. It is replaced as a whole and never changed, so that a scrape counts each worker once.

    Attributes:
        workers: last snapshot of each worker that runs: values by metric and series.
        ended: exact sums of the last snapshots of the workers that ended.
    """

    workers: Mapping[int, Mapping[str, Mapping[Series, float]]]
    ended: Mapping[str, Mapping[Series, Fraction]]


class PooledMetrics:
    """Metrics of the main process and its workers, in a registry for the metrics server.

    The event loop's thread calls `update` and `ended`; the metrics server collects in its own.
    """

    def __init__(self, metrics: Metrics) -> None:
        """The metrics of a main process without workers.

        Args:
            metrics: metrics of the main process.
        """
        self._main = metrics.registry
        self._sample_names = {family.name: _sample_names(family) for family in self._main.collect()}
        self._counted = _Counted({}, {})
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(self)

    def update(self, worker: int, families: object) -> None:
        """Replace a worker's values by its newest snapshot. One of another form is ignored as a whole.

        Args:
            worker: number of the worker. After its end, the number is that of a worker that has counted nothing.
            families: what the worker sent: a `snapshot`.
        """
        try:
            found = _FAMILIES.validate_python(families)
        except ValidationError:
            return
        for family in found:
            names = self._sample_names.get(family.name)
            if names is None or any(sample.name not in names for sample in family.samples):
                return
        values = {
            family.name: {_series(sample.name, sample.labels): sample.value for sample in family.samples}
            for family in found
        }
        self._counted = self._counted._replace(workers={**self._counted.workers, worker: values})

    def ended(self, worker: int) -> None:
        """Note that a worker ended. Its counts up to its last snapshot stay, its other values do not."""
        workers = dict(self._counted.workers)
        ended = dict(self._counted.ended)
        for name, values in workers.pop(worker, {}).items():
            before = ended.get(name, {})
            ended[name] = {
                **before,
                **{series: before.get(series, 0) + Fraction(value) for series, value in values.items()},
            }
        self._counted = _Counted(workers, ended)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all processes."""
        counted = self._counted
        for family in self._main.collect():
            pooling = POOLING[family.name]
            of_workers = [values.get(family.name, {}) for values in counted.workers.values()]
            if pooling is Pooling.TOTAL:
                yield _pooled(family, [*of_workers, counted.ended.get(family.name, {})], _sum)
            elif pooling is Pooling.LIVE:
                yield _pooled(family, of_workers, _sum)
            elif pooling is Pooling.LEAST:
                yield _pooled(family, of_workers, _least)
            else:
                yield family


class _Sample(BaseModel):
    """A sample as a worker sends it. With its bounds, a string is also checked to have no lone surrogates."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    labels: dict[Annotated[str, Field(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")], Annotated[str, Field(max_length=4096)]]
    value: Annotated[float, Field(ge=0, lt=2**63)]


class _Family(BaseModel):
    """A metric as a worker sends it."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    samples: list[_Sample]


_FAMILIES = TypeAdapter(list[_Family])


def _sample_names(family: Metric) -> frozenset[str]:
    return frozenset(family.name + suffix for suffix in _SUFFIXES[family.type])


def _series(name: str, labels: Mapping[str, str]) -> Series:
    return name, tuple(sorted(labels.items()))


def _pooled(
    family: Metric,
    others: Sequence[Mapping[Series, float] | Mapping[Series, Fraction]],
    combined: Callable[[Sequence[Number]], float],
) -> Metric:
    """A metric of the main process with the values of others."""
    found: dict[Series, list[Number]] = {_series(one.name, one.labels): [one.value] for one in family.samples}
    for values in others:
        for series, value in values.items():
            found.setdefault(series, []).append(value)
    metric = Metric(family.name, family.documentation, family.type)
    for (name, labels), parts in found.items():
        metric.add_sample(name, dict(labels), combined(parts))
    return metric


def _sum(values: Sequence[Number]) -> float:
    """The exact sum, rounded once: a sum of floats in another order could fall when a worker ends."""
    return float(sum(Fraction(value) for value in values))


def _least(values: Sequence[Number]) -> float:
    return float(min((value for value in values if not math.isnan(value)), default=math.nan))
