"""Rules of Prometheus: each fires when it should and not before, by Prometheus's own `promtool test rules`."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.reading import yaml_of
from tests.places import EXAMPLES

RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml_of("alerts.yaml")["groups"] for rule in group["rules"]
}
V, S = "weightwarden_verifier_", "weightwarden_sidecar_"


@dataclass(frozen=True)
class Case:
    """An alert's two histories, one sample a minute in promtool's notation.

    Attributes:
        fires: series by which the alert fires at the minute `at`.
        quiet: series by which it does not fire at any time until then.
        at: minute of the evaluation.
        before: minute until which `fires` does not fire yet, or None for an alert without delay.
        labels: labels of the alert, besides its severity.
    """

    fires: dict[str, str]
    quiet: dict[str, str]
    at: int
    before: int | None = None
    labels: dict[str, str] = field(default_factory=dict)


def _state(state: str, fires: str, at: int, before: int | None = None) -> Case:
    series = f'{V}state{{state="{state}",instance="a"}}'
    other = f'{V}state{{state="{state}",instance="b"}}'
    return Case({series: fires, other: "0x200"}, {series: "0x200", other: "0x200"}, at, before)


def _gauge(name: str, fires: str, quiet: str, at: int, before: int | None = None, **labels: str) -> Case:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    series = f"{name}{{{inside}}}"
    return Case({series: fires}, {series: quiet}, at, before, labels)


def _buckets(slow: bool) -> dict[str, str]:
    """Commits of the log, 60 a minute, half of them slow or none."""
    return {
        f'{S}log_commit_seconds_bucket{{le="0.01"}}': f"0+{30 if slow else 60}x60",
        f'{S}log_commit_seconds_bucket{{le="1"}}': "0+60x60",
        f'{S}log_commit_seconds_bucket{{le="+Inf"}}': "0+60x60",
    }


CASES: dict[str, Case] = {
    "WeightwardenAlarm": _state("alarm", "0 1x20", at=1),
    "WeightwardenStale": _state("stale", "0 1x20", at=1),
    "WeightwardenUnexplainedFrames": _gauge(f"{V}egress_unexplained_frames", "0 3x20", "0x20", at=1),
    "WeightwardenWatch": _state("watch", "0 1x200", at=62, before=50),
    "WeightwardenInconclusive": _state("inconclusive", "1x1500", at=1445, before=1435),
    "WeightwardenBlind": Case(
        {"up": "0x30"}, {f'{V}state{{state="alarm"}}': "0x30"}, at=20, before=9, labels={"state": "alarm"}
    ),
    "WeightwardenNobodyWatches": _gauge(f"{V}watched_timestamp_seconds", "0x30", "0+60x30", at=6, before=5),
    "WeightwardenNoVerifier": _gauge(f"{V}servers", "1 0x30", "1x30", at=7, before=5),
    "WeightwardenDatabaseDown": _gauge(f"{V}database_up", "1 0x30", "1x30", at=7, before=5, instance="a"),
    "WeightwardenBehind": _gauge(f"{V}behind", "0 1x30", "0x30", at=17, before=15),
    "WeightwardenQuarantine": Case(
        {f'{V}quarantined{{kind="fork"}}': "0 2x30"},
        {f'{V}quarantined{{kind="fork"}}': "0x30"},
        at=17,
        before=15,
        labels={"kind": "fork"},
    ),
    "WeightwardenNoticesWaiting": _gauge(f"{V}notices_waiting", "0 1x30", "0 1 0 1 0x30", at=17, before=15),
    "WeightwardenUnverifiable": _gauge(f"{V}unverifiable_records_total", "3 3 4x30", "3x30", at=5, before=1),
    "WeightwardenUnacknowledged": _gauge(
        f"{V}unacknowledged_incidents", "0 1x1500", "0 1x700 0x800", at=1442, before=1430
    ),
    "WeightwardenNothingReplayed": Case(
        {f"{V}backlog_records": "5x90", f"{V}replayed_tokens_total": "0+100x10 1000x80"},
        {f"{V}backlog_records": "5x90", f"{V}replayed_tokens_total": "0+100x90"},
        at=60,
        before=45,
    ),
    "WeightwardenDown": Case(
        {'up{job="weightwarden-sidecar",instance="a"}': "1 0x30"},
        {'up{job="weightwarden-sidecar",instance="a"}': "1 0 0 1x30", 'up{job="other"}': "0x30"},
        at=7,
        before=5,
        labels={"job": "weightwarden-sidecar", "instance": "a"},
    ),
    "WeightwardenLogFails": Case(
        {f"{S}log_writable": "1 1 0x30", f"{S}log_failures_total": "0x30"},
        {f"{S}log_writable": "1x30", f"{S}log_failures_total": "7x30"},
        at=2,
        before=1,
    ),
    "WeightwardenLogSlow": Case(_buckets(slow=True), _buckets(slow=False), at=30, before=9),
    "WeightwardenLogChanged": _gauge(f"{S}seal_failures_total", "0 0 1x30", "1x30", at=5, before=1, cause="changed"),
    "WeightwardenNoCheckpoint": _gauge(
        f"{S}last_checkpoint_timestamp_seconds", "0x30", "0+60x30", at=16, before=15, instance="a"
    ),
    "WeightwardenNoArchive": _gauge(
        f"{S}last_archive_timestamp_seconds", "0x150", "0x60 3600x90", at=131, before=130, instance="a"
    ),
    "WeightwardenSealingFails": _gauge(
        f"{S}seal_failures_total", "0 1 2 3 4 5x30", "0 1x30", at=10, before=2, cause="disk full"
    ),
    "WeightwardenCheckpointFails": _gauge(
        f"{S}checkpoint_failures_total", "0 1 2 3 4 5x30", "0 1x30", at=10, before=2, cause="locked"
    ),
    "WeightwardenFork": _gauge(
        f"{S}witness_failures_total", "0 0 1x30", "1x30", at=5, before=1, witness="2", cause="fork"
    ),
    "WeightwardenWitnessSilent": _gauge(
        f"{S}witness_last_cosignature_timestamp_seconds", "0x80", "0+60x80", at=61, before=60, witness="2"
    ),
    "WeightwardenDiskFull": _gauge(
        f"{S}free_bytes", "2e9 9e8x30", "2e9 9e8 2e9x30", at=7, before=5, folder="log", instance="a"
    ),
    "WeightwardenDiskFills": _gauge(
        f"{S}free_bytes", "5e11-3e8x500", "5e11-1e8x500", at=480, before=59, folder="archives", instance="a"
    ),
    "WeightwardenUpstreamDown": _gauge(f"{S}upstream_up", "1 0x30", "1 0 0 1x30", at=7, before=5, instance="a"),
    "WeightwardenReplicaDown": _gauge(
        f"{S}replica_up", "1 0x30", "1 0x10 1x20", at=17, before=15, instance="a", replica="gpu-3"
    ),
    "WeightwardenReplicaFails": _gauge(
        f"{S}replica_failures_total", "0+1x90", "0x10 1x80", at=45, before=29, instance="a", replica="gpu-3"
    ),
    "WeightwardenUpstreamFails": Case(
        {f'{S}upstream_failures_total{{reason="stalled",instance="a"}}': "0+12x60"},
        {f'{S}upstream_failures_total{{reason="stalled",instance="a"}}': "0+3x60"},
        at=30,
        before=9,
        labels={"reason": "stalled"},
    ),
    "WeightwardenWorkerEnds": _gauge(f"{S}worker_ends_total", "0 0 1x30", "1x30", at=5, before=1, instance="a"),
}


def _promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        reason = "promtool is not installed: apt-get install prometheus"
        if os.environ.get("WEIGHTWARDEN_REQUIRE_PROMTOOL"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def _ran(*arguments: str | Path) -> None:
    done = subprocess.run([_promtool(), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _checks(name: str, times: dict[int, bool], labels: dict[str, str]) -> list[dict[str, Any]]:
    """Checks that an alert fires or not at some minutes."""
    alert = {"exp_labels": {**RULES[name]["labels"], **labels}}
    return [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [alert] if fires else []}
        for minute, fires in times.items()
    ]


def _history(name: str, series: dict[str, str], checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": checks,
    }


def test_every_rule_has_a_case() -> None:
    assert RULES.keys() == CASES.keys()


def test_rules_are_valid() -> None:
    _ran("check", "rules", EXAMPLES / "alerts.yaml")


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_when_it_should_and_not_before(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    bare = {key: value for key, value in RULES[name].items() if key != "annotations"}  # texts are promtool's to check
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "rules", "rules": [bare]}]}))
    fires = _checks(name, {case.at: True} | ({} if case.before is None else {case.before: False}), case.labels)
    quiet = _checks(name, dict.fromkeys(range(case.at + 1), False), {})
    tests = [_history("fires", case.fires, fires), _history("quiet", case.quiet, quiet)]
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(content))
    _ran("test", "rules", tmp_path / "tests.yaml")


def test_texts_of_rules_with_labels_are_filled_in(tmp_path: Path) -> None:
    """One exact text; the others are templates of the same form."""
    shutil.copy(EXAMPLES / "alerts.yaml", tmp_path / "rules.yaml")
    name, case = "WeightwardenSealingFails", CASES["WeightwardenSealingFails"]
    text = "Sealing fails: disk full. It is tried again at every checkpoint."
    [check] = _checks(name, {case.at: True}, case.labels)
    check["exp_alerts"][0]["exp_annotations"] = {"summary": text}
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [_history("", case.fires, [check])]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(content))
    _ran("test", "rules", tmp_path / "tests.yaml")
