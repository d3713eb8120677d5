"""Metrics of a main process and its workers as one: sums that never fall, and values of those who know them."""

import json
import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.workers.pooled_metrics import POOLING, PooledMetrics, Pooling, snapshot

PREFIX = "weightwarden_sidecar_"


def sent(metrics: Metrics) -> Any:
    """A worker's snapshot, as it arrives over the link."""
    return json.loads(json.dumps(snapshot(metrics.registry), allow_nan=False))


def of(pooled: PooledMetrics, name: str, **labels: str) -> float | None:
    return pooled.registry.get_sample_value(PREFIX + name, labels)


def totals(pooled: PooledMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of counters and histograms."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in pooled.registry.collect()
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


@pytest.fixture
def main() -> Metrics:
    return Metrics()


@pytest.fixture
def pooled(main: Metrics) -> PooledMetrics:
    return PooledMetrics(main)


def test_every_metric_has_a_rule_that_fits_its_type() -> None:
    types = {family.name: family.type for family in Metrics().registry.collect()}
    assert types.keys() == POOLING.keys()
    for name, pooling in POOLING.items():
        assert (pooling is Pooling.TOTAL) == (types[name] in ("counter", "histogram")), name


def test_counters_are_sums_over_all_processes_by_label(main: Metrics, pooled: PooledMetrics) -> None:
    first, second = Metrics(), Metrics()
    main.answers.labels("interrupted").inc()
    for worker, metrics, stops in ((1, first, 3), (2, second, 4)):
        metrics.answers.labels("stop").inc(stops)
        pooled.update(worker, sent(metrics))
    second.answers.labels("length").inc()
    pooled.update(2, sent(second))  # takes the place of the former snapshot
    assert of(pooled, "answers_total", ending="interrupted") == 1
    assert of(pooled, "answers_total", ending="stop") == 7
    assert of(pooled, "answers_total", ending="length") == 1


def test_histograms_are_sums_by_bucket(main: Metrics, pooled: PooledMetrics) -> None:
    workers = Metrics(), Metrics()
    for seconds, metrics in ((0.004, main), (0.02, workers[0]), (7.0, workers[1])):
        metrics.first_token_seconds.observe(seconds)
    for worker, metrics in enumerate(workers):
        pooled.update(worker, sent(metrics))
    assert of(pooled, "first_token_seconds_bucket", le="0.0025") == 0
    assert of(pooled, "first_token_seconds_bucket", le="0.005") == 1
    assert of(pooled, "first_token_seconds_bucket", le="0.025") == 2
    assert of(pooled, "first_token_seconds_bucket", le="+Inf") == of(pooled, "first_token_seconds_count") == 3
    assert of(pooled, "first_token_seconds_sum") == math.fsum((0.004, 0.02, 7.0))


def test_counts_of_an_ended_worker_stay_and_its_gauges_vanish(main: Metrics, pooled: PooledMetrics) -> None:
    first, second = Metrics(), Metrics()
    main.replica_choices.labels("a").set(0)
    for worker, metrics in ((1, first), (2, second)):
        metrics.tokens.labels("output").inc(10)
        metrics.choices.inc(worker)
        metrics.replica_choices.labels("a").set(worker)
        metrics.replica_choices.labels("of the worker alone").set(worker)
        pooled.update(worker, sent(metrics))
    second.log_writable.set(0)
    pooled.update(2, sent(second))
    assert of(pooled, "choices_in_flight") == of(pooled, "replica_choices_in_flight", replica="a") == 3
    pooled.ended(2)
    assert of(pooled, "tokens_total", kind="output") == 20
    assert of(pooled, "choices_in_flight") == of(pooled, "replica_choices_in_flight", replica="a") == 1
    assert math.isnan(of(pooled, "log_writable") or 0)
    replacement = Metrics()
    replacement.tokens.labels("output").inc(5)
    pooled.update(2, sent(replacement))
    assert of(pooled, "tokens_total", kind="output") == 25
    pooled.ended(1)
    pooled.ended(2)
    assert of(pooled, "tokens_total", kind="output") == 25
    assert of(pooled, "replica_choices_in_flight", replica="a") == 0
    assert of(pooled, "replica_choices_in_flight", replica="of the worker alone") is None


def test_the_end_of_a_worker_that_sent_nothing_changes_nothing(pooled: PooledMetrics) -> None:
    before = generate_latest(pooled.registry)
    pooled.ended(3)
    assert generate_latest(pooled.registry) == before


def test_no_count_falls_whatever_workers_do_and_none_is_lost(main: Metrics, pooled: PooledMetrics) -> None:
    draw = random.Random(7)
    running = {worker: Metrics() for worker in range(4)}
    observed: list[float] = []
    before = totals(pooled)
    for _ in range(400):
        worker = draw.randrange(4)
        for metrics in (running[worker], main):
            seconds = draw.lognormvariate(-3, 2)
            observed.append(seconds)
            metrics.durable_seconds.observe(seconds)
            metrics.requests.labels("/v1/completions", draw.choice(("200", "503"))).inc()
        pooled.update(worker, sent(running[worker]))
        if draw.random() < 0.2:
            pooled.ended(worker)
            running[worker] = Metrics()
        now = totals(pooled)
        assert all(now[series] >= before[series] for series in before)
        before = now
    assert of(pooled, "log_commit_seconds_count") == len(observed)
    assert of(pooled, "log_commit_seconds_sum") == pytest.approx(math.fsum(observed), rel=1e-12)


def test_a_sum_does_not_fall_by_rounding_when_a_worker_ends() -> None:
    """Each sum of three floats depends on the order: in one of them, 1 ulp less."""
    for ending in (1, 2, 3):
        pooled = PooledMetrics(Metrics())
        for worker, seconds in ((1, 0.1), (2, 0.2), (3, 0.3)):
            metrics = Metrics()
            metrics.durable_seconds.observe(seconds)
            pooled.update(worker, sent(metrics))
        before = of(pooled, "log_commit_seconds_sum")
        for worker in (ending, *({1, 2, 3} - {ending})):
            pooled.ended(worker)
            assert of(pooled, "log_commit_seconds_sum") == before == 0.6


@pytest.mark.parametrize(
    ("of_main", "of_workers", "least"),
    [
        (1.0, (1.0, 1.0), 1.0),
        (1.0, (1.0, 0.0), 0.0),
        (0.0, (1.0, 1.0), 0.0),
        (None, (1.0, 1.0), 1.0),
        (None, (0.0, None), 0.0),
        (1.0, (None, None), 1.0),
    ],
)
def test_the_log_is_writable_if_all_say_so_who_know(
    main: Metrics, pooled: PooledMetrics, of_main: float | None, of_workers: tuple[float | None, ...], least: float
) -> None:
    if of_main is not None:
        main.log_writable.set(of_main)
    for worker, value in enumerate(of_workers):
        metrics = Metrics()
        if value is not None:
            metrics.log_writable.set(value)
        pooled.update(worker, sent(metrics))
    assert of(pooled, "log_writable") == least


def every_metric(main: float, value: float) -> Metrics:
    """Metrics of which each has a value."""
    metrics = Metrics()
    for name, metric in vars(metrics).items():
        if name in ("registry", "build_info"):
            continue
        one = metric.labels(*("x" for _ in metric._labelnames)) if metric._labelnames else metric
        if hasattr(one, "set"):
            one.set(value)
        elif hasattr(one, "observe"):
            one.observe(value)
        else:
            one.inc(value)
    return metrics


def test_what_the_main_process_alone_knows_is_its_own() -> None:
    main, worker = every_metric(3, 3), every_metric(8, 8)
    pooled = PooledMetrics(main)
    everything = [
        {
            "name": family.name,
            "samples": [{"name": s.name, "labels": s.labels, "value": s.value} for s in family.samples],
        }
        for family in worker.registry.collect()
        if family.type == "gauge"
    ]
    pooled.update(1, everything)
    assert of(pooled, "choices_in_flight") == 11  # so the snapshot counts
    alone = {name for name, pooling in POOLING.items() if pooling is Pooling.MAIN}
    assert {f"{PREFIX}upstream_up", f"{PREFIX}replica_up", f"{PREFIX}workers"} <= alone
    families = {family.name: family for family in pooled.registry.collect()}
    for family in main.registry.collect():
        if family.name in alone:
            assert families[family.name] == family
            assert family.samples
    assert not alone & {family["name"] for family in sent(worker)}


def test_without_workers_everything_is_as_in_one_process() -> None:
    main = every_metric(2, 2)
    assert generate_latest(PooledMetrics(main).registry) == generate_latest(main.registry)


NAME = f"{PREFIX}ignored_fields"
GOOD: dict[str, Any] = {"name": f"{NAME}_total", "labels": {}, "value": 1}


def family(**changes: Any) -> list[Any]:
    return [{"name": NAME, "samples": [GOOD | changes]}]


@pytest.mark.parametrize(
    "families",
    [
        None,
        "text",
        {},
        [None],
        [[NAME, []]],
        [{"name": NAME}],
        [{"name": NAME, "samples": None}],
        [{"name": NAME, "samples": [None]}],
        [{"name": "weightwarden_sidecar_unknown", "samples": []}],
        [{"name": ["unhashable"], "samples": []}],
        [*family(), {"name": "python_info", "samples": [{"name": "python_info", "labels": {}, "value": 1}]}],
        family(name=f"{NAME}_created"),
        family(name=f"{PREFIX}requests_total"),
        family(name="x 1\ny"),
        family(labels=None),
        family(labels={"a": 1}),
        family(labels={1: "a"}),
        family(labels={'a"} 1\nb': "c"}),
        family(labels={"a\n": "c"}),
        family(labels={"a": "\ud800"}),
        family(value=None),
        family(value="1"),
        family(value=True),
        family(value=-1),
        family(value=math.nan),
        family(value=math.inf),
        family(value=10**400),
        family(value=1e308),
        family(more=1),
    ],
    ids=ascii,
)
def test_a_snapshot_of_another_form_is_ignored_as_a_whole(pooled: PooledMetrics, families: object) -> None:
    pooled.update(1, family(value=5))
    before = generate_latest(pooled.registry)
    assert f"{NAME}_total 5.0\n".encode() in before
    pooled.update(1, families)
    pooled.update(2, families)
    assert generate_latest(pooled.registry) == before
    pooled.ended(1)
    pooled.ended(2)
    assert generate_latest(pooled.registry) == before


def test_label_values_arrive_as_they_are(pooled: PooledMetrics) -> None:
    metrics = Metrics()
    metrics.upstream_failures.labels('a "b"\n\\ é').inc()
    pooled.update(1, sent(metrics))
    text = generate_latest(pooled.registry).decode()
    samples = [sample for one in text_string_to_metric_families(text) for sample in one.samples]
    [found] = [one for one in samples if one.name == f"{PREFIX}upstream_failures_total"]
    assert found.labels == {"reason": 'a "b"\n\\ é'}


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_the_metrics_server_gives_them_all_or_those_asked_for(pooled: PooledMetrics, accept: str) -> None:
    metrics = Metrics()
    metrics.ignored_fields.inc(4)
    metrics.first_token_seconds.observe(0.5)
    pooled.update(1, sent(metrics))
    with served(pooled.registry) as url:
        answer = httpx2.get(url, headers={"accept": accept}, trust_env=False)
        assert answer.status_code == 200
        assert f"{NAME}_total 4.0" in answer.text
        assert f'{PREFIX}first_token_seconds_bucket{{le="0.5"}} 1.0' in answer.text
        some = httpx2.get(url, params={"name[]": f"{NAME}_total"}, trust_env=False).text
        assert [line for line in some.splitlines() if not line.startswith("#")] == [f"{NAME}_total 4.0"]


def test_a_scrape_counts_a_worker_once_that_ends_meanwhile(pooled: PooledMetrics) -> None:
    metrics = Metrics()
    metrics.ignored_fields.inc()
    metrics.choices.inc()
    for worker in (1, 2):
        pooled.update(worker, sent(metrics))
    scrape = pooled.collect()
    found = {one.name: one for one in [next(scrape)]}
    pooled.ended(1)
    pooled.update(1, sent(metrics))
    pooled.update(3, sent(metrics))
    found |= {one.name: one for one in scrape}
    assert found[NAME].samples[0].value == found[f"{PREFIX}choices_in_flight"].samples[0].value == 2
    assert of(pooled, "ignored_fields_total") == 4
    assert of(pooled, "choices_in_flight") == 3


def test_scrapes_in_another_thread_see_no_count_fall(pooled: PooledMetrics) -> None:
    metrics = Metrics()
    metrics.ignored_fields.inc()
    families = sent(metrics)

    def scrapes() -> list[float]:
        return [of(pooled, "ignored_fields_total") or 0 for _ in range(100)]

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(scrapes)
        counted = 0
        while not future.done():
            pooled.update(counted % 8, families)
            pooled.ended(counted % 8)
            counted += 1
        seen = future.result()
    assert seen == sorted(seen)
    assert of(pooled, "ignored_fields_total") == counted
