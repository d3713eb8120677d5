"""Grafana's dashboard, Prometheus's configuration and its rules ask for what there is."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import Metric

from tests.examples.reading import yaml_of
from tests.places import EXAMPLES
from tests.verifier.server.running import server_in
from weightwarden.logger.sidecar.metrics import Metrics as SidecarMetrics
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.api.metrics import Metrics as VerifierMetrics
from weightwarden.verifier.server.api.models import State

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana.json").read_text())
RULES = [rule for group in yaml_of("alerts.yaml")["groups"] for rule in group["rules"]]


def _series(metrics: Iterable[Metric]) -> set[str]:
    """Names of the time series that metrics make."""
    return {metric.name + suffix for metric in metrics for suffix in _SUFFIXES[metric.type]}


@pytest.fixture(scope="module")
def of_verifier(
    tmp_path_factory: pytest.TempPathFactory, replayer: TransformersReplayer, bundled_policy: Policy
) -> set[str]:
    opened = server_in(tmp_path_factory.mktemp("server"), replayer, bundled_policy).opened
    return _series(VerifierMetrics(opened).collect())


@pytest.fixture(scope="module")
def of_sidecar() -> set[str]:
    return _series(SidecarMetrics().registry.collect())


def _named(expressions: Iterable[str]) -> set[str]:
    return {name for expression in expressions for name in re.findall(r"\bweightwarden_\w+", expression)}


def _queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


def test_every_series_of_the_dashboard_is_there(of_verifier: set[str], of_sidecar: set[str]) -> None:
    assert _named(_queries()) <= of_verifier | of_sidecar


def test_the_dashboard_leaves_nothing_out(of_verifier: set[str], of_sidecar: set[str]) -> None:
    shown = {name.removesuffix("_bucket") for name in _named(_queries())}
    there = {re.sub("_(bucket|sum|count)$", "", name) for name in of_verifier | of_sidecar}
    assert {name for name in there - shown if not name.endswith("_created")} == set()


def test_every_series_of_the_rules_is_there(of_verifier: set[str], of_sidecar: set[str]) -> None:
    expressions = [rule["expr"] for rule in RULES]
    assert _named(expressions) <= of_verifier | of_sidecar
    for expression in expressions:
        assert _named([expression]) or expression.startswith("up{")


def test_rules_page_for_an_alarm_and_for_silence() -> None:
    rules = {rule["alert"]: rule for rule in RULES}
    assert len(rules) == len(RULES)
    for name in ("Alarm", "Stale", "Blind", "Down", "NoticesWaiting"):
        assert rules[f"Weightwarden{name}"]["labels"] == {"severity": "page"}
    assert "for" not in rules["WeightwardenAlarm"]
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}


def test_states_are_those_that_there_are() -> None:
    everything = [*_queries(), *(rule["expr"] for rule in RULES)]
    assert set(re.findall(r'state="(\w+)"', " ".join(everything))) <= set(get_args(State))


def test_panels_are_complete_and_do_not_overlap() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = {name for query in _queries() for name in re.findall(r"\$(\w+)", query)}
    assert used <= variables | {"__rate_interval"}


def test_prometheus_asks_both_where_the_examples_listen() -> None:
    configuration = yaml_of("prometheus.yaml")
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    published = [port for service in yaml_of("compose.yaml")["services"].values() for port in service.get("ports", [])]
    for job in jobs.values():
        [target] = [target for config in job["static_configs"] for target in config["targets"]]
        assert f"{target}:{target.rpartition(':')[2]}" in published
        assert f'"{target}"' in "".join(path.read_text() for path in EXAMPLES.glob("*/*.toml"))
    assert jobs["weightwarden-verifier"]["authorization"].keys() == {"credentials_file"}
    assert all((EXAMPLES / Path(name)).is_file() for name in configuration["rule_files"])
    assert all(re.fullmatch("weightwarden-.*", name) for name in jobs)  # what the rule of `up` looks at
