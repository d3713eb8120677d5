"""`verify run --executor ray`: the same report as that of a single process, and loud where it cannot be."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.commands.test_run import invoke, write
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, GREEDY, records_of
from tests.verifier.server.running import KEY, Log, honest, stolen
from tests.verifier.verification.ray import loads
from weightwarden.cli.options.executor import load_on_worker
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.extras import how_to_add
from weightwarden.logger.files.private import write_private
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.verification.ray.executor import RayExecutor

pytestmark = pytest.mark.slow

TIMES = ("created", "seconds", "tokens_per_second", "executor")


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return {name: value for name, value in report.items() if name not in TIMES}


def page_of(path: Path) -> str:
    """An HTML report without its time."""
    created: str = json.loads(path.with_suffix(".json").read_text())["created"]
    page = path.read_text()
    assert created in page
    return page.replace(created, "")


@pytest.mark.usefixtures("local_ray")
def test_the_report_on_a_sample_of_archives_is_the_same(tmp_path: Path, model_folder: Path) -> None:
    log = Log(tmp_path)
    records = honest(9, tokens=6)
    archives = [log.seal([*records[at : at + 2], stolen(records[at + 2])]) for at in (0, 3, 6)]
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n")
    write_private(tmp_path / "audit.key", b"0123456789abcdef")
    command: list[str | Path] = [
        "run",
        *archives,
        "--public-key",
        tmp_path / "log.pub",
        "--model",
        model_folder,
        "--policy",
        BUNDLED_POLICY,
    ]
    command += ["--audit-rate", "0.7", "--audit-key", tmp_path / "audit.key", "--token-budget", "128"]

    def to(name: str) -> list[str | Path]:
        kinds = {"--json": "json", "--html": "html", "--tokens": "parquet"}
        return [part for option, kind in kinds.items() for part in (option, tmp_path / f"{name}.{kind}")]

    alone = invoke(*command, *to("alone"))
    ray = invoke(*command, *to("ray"), "--executor", "ray", "--workers", "2")
    assert alone.exit_code == ray.exit_code == 1, ray.output
    report = report_of(tmp_path / "ray.json")
    assert 0 < len(report["flagged"]) < report["verified_records"] < report["total_records"] == 9
    assert report == report_of(tmp_path / "alone.json")
    assert page_of(tmp_path / "ray.html") == page_of(tmp_path / "alone.html")
    tokens = pq.read_table(tmp_path / "ray.parquet")
    assert tokens.equals(pq.read_table(tmp_path / "alone.parquet"))
    selected = [index for part in report["selection"]["ranges"] for index in part["selected"]]
    assert tokens["record"].unique().to_pylist() == selected
    assert json.loads((tmp_path / "ray.json").read_text())["executor"] == {"workers": 2, "worker_deaths": 0}


@pytest.mark.usefixtures("local_ray")
def test_a_run_with_a_record_that_ends_its_workers_is_never_clear_and_names_it(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = records_of(GREEDY)[:6]
    load = partial(loads.poisoned, policy=bundled_policy, folder=model_folder, poison=[records[4].prompt_token_ids])
    said: list[str] = []
    monkeypatch.setattr(
        "weightwarden.cli.commands.run.open_executor",
        lambda *_: RayExecutor(load, bundled_policy, workers=1, say=said.append),
    )
    result = invoke(
        *(
            "run",
            write(tmp_path / "t.jsonl", records),
            "--policy",
            BUNDLED_POLICY,
            "--unsafe-unsigned",
            "--executor",
            "ray",
        ),
        *("--json", tmp_path / "r.json", "--html", tmp_path / "r.html", "--tokens", tmp_path / "r.parquet"),
    )
    assert result.exit_code == 2
    assert "Verdict: INCOMPLETE" in result.output
    assert "NOT VERIFIED: 1 records" in result.output
    assert "record 4 (t.jsonl:5)" in result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "incomplete"
    assert [(aside["record"], aside["line"]) for aside in report["unverifiable"]] == [(4, 5)]
    assert report["verified_records"] == 5
    assert pq.read_table(tmp_path / "r.parquet")["record"].unique().to_pylist() == [0, 1, 2, 3, 5]
    assert report["executor"]["worker_deaths"] == len(said) - sum("in halves" in what for what in said) >= 2
    page = (tmp_path / "r.html").read_text()
    assert "Record 4 (t.jsonl:5" in page
    assert "have no verdict" in page


def test_without_ray_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    traffic = write(tmp_path / "t.jsonl", records_of(FILTERED)[:1])
    result = invoke("run", traffic, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", "--executor", "ray")
    assert result.exit_code == 2
    assert how_to_add("ray") in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "2"), "require --executor ray"),
        (("--ray-address", "auto"), "require --executor ray"),
        (("--replayer", "vllm", "--replay-url", "http://a", "--replay-url", "http://b"), "one for each worker"),
    ],
)
def test_options_for_several_workers_need_them(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    traffic = write(tmp_path / "t.jsonl", records_of(FILTERED)[:1])
    result = invoke("run", traffic, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", *options)
    assert result.exit_code == 2
    assert message in result.output


def test_each_worker_replays_on_the_server_whose_turn_it_is(
    bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def loaded(options: ReplayOptions, *_: object, **__: object) -> None:
        asked.append(options.replay_urls)

    monkeypatch.setattr("weightwarden.cli.options.executor.load_replayer", loaded)
    for urls in (("http://a", "http://b"), ("http://shared",)):
        for number in range(3):
            load_on_worker(number, ReplayOptions(implementation="vllm", replay_urls=urls), bundled_policy)
    assert asked == [("http://a",), ("http://b",), ("http://a",), *[("http://shared",)] * 3]


def test_a_key_of_a_replay_server_does_not_travel_to_the_workers(tmp_path: Path, bundled_policy: Policy) -> None:
    from ray import cloudpickle

    write_private(tmp_path / "server.key", b"the-key-of-the-server")
    replay = ReplayOptions(implementation="vllm", replay_key_path=tmp_path / "server.key")
    assert replay.api_key() == "the-key-of-the-server"
    sent: bytes = cloudpickle.dumps(partial(load_on_worker, replay=replay, policy=bundled_policy))
    assert b"server.key" in sent
    assert b"the-key-of-the-server" not in sent
