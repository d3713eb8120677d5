"""What an operator sees of a sidecar's health: metrics, events with causes, `/ready`."""

import json
import math
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.free_port import free_port
from tests.logger.sidecar.process import Process, config_file, started
from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream
from weightwarden.logger.sealing import seal
from weightwarden.logger.serving.address import Address, exposures
from weightwarden.logger.serving.build_versions import build_versions
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import warnings
from weightwarden.logger.sidecar.upstream.replica_url import replica_urls
from weightwarden.logger.store.errors import LogLocked
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.seals import SealBook
from weightwarden.logger.tlog.keys import SigningKey

PREFIX = "weightwarden_sidecar_"


def scraped(port: int) -> dict[tuple[str, str], float]:
    """The sidecar's metrics: values by name (without the prefix) and by the value of the only label, or ""."""
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    return {
        (sample.name.removeprefix(PREFIX), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def awaited(found: Callable[[], Any]) -> Any:
    """What a function returns, once that is true."""
    for _ in range(2000):
        if got := found():
            return got
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def await_sealed(settings: Settings, size: int) -> None:
    """Wait until so many records are in archives, and the metrics say so: before the first look they say 0, too."""
    awaited(lambda: LogReader(settings.log).sealed_size() == size)
    awaited(lambda: scraped(observed(settings))["unsealed_records", ""] == 0)


def sealing(log: str) -> SealBook:
    """The book of a log, as another process has it that seals."""
    for _ in range(2000):
        with suppress(LogLocked):
            return SealBook(log)
        time.sleep(0.01)
    raise AssertionError("the sidecar seals without end")


def observed(settings: Settings) -> int:
    assert settings.metrics is not None
    return settings.metrics.port


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path, upstream: Upstream) -> Settings:
    """A sidecar with metrics that seals often."""
    (tmp_path / "mounted" / "archives").mkdir(parents=True)
    return settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        metrics=Address(host="127.0.0.1", port=free_port()),
        archives=str(tmp_path / "mounted" / "archives"),
        checkpoint_every=0.05,
        seal_every=0.1,
        limits={"ready": 0.1},
    )


def test_failing_seals_are_reported_once_with_cause_and_advice_and_counted_until_they_succeed(
    settings: Settings,
) -> None:
    assert settings.archives is not None
    port, archives = observed(settings), Path(settings.archives)
    with running(settings) as sidecar:
        shutil.rmtree(archives.parent)
        sidecar.complete(max_tokens=3)
        failed = sidecar.await_event("sealing failed")
        assert failed["cause"] == "missing"
        assert str(archives) in failed["why"]
        assert failed["do"] == "put the file or folder back"
        count = ("seal_failures_total", "missing")
        awaited(lambda: scraped(port)[count] >= 3)
        assert len(sidecar.events("sealing failed")) == 1
        assert scraped(port)["unsealed_records", ""] == 1
        assert scraped(port)["last_archive_timestamp_seconds", ""] < time.time()
        assert sidecar.client.get("/ready").status_code in (200, 503)  # sealing does not stop the service
        assert sidecar.complete(max_tokens=3).status_code == 200
        archives.parent.mkdir()
        sidecar.await_event("sealing recovered")
        await_sealed(settings, 2)
        assert scraped(port)["seal_seconds_count", ""] >= 1


def test_times_of_checkpoint_and_archive_stand_still_while_another_process_holds_the_seal(settings: Settings) -> None:
    port = observed(settings)
    names = ("last_checkpoint_timestamp_seconds", ""), ("last_archive_timestamp_seconds", "")

    def times() -> tuple[float, ...]:
        found = scraped(port)
        return tuple(found[name] for name in names)

    with running(settings) as sidecar:
        sidecar.complete(max_tokens=3)
        await_sealed(settings, 1)
        with sealing(settings.log):
            sidecar.complete(max_tokens=3)
            awaited(lambda: scraped(port)["unsealed_records", ""] == 1)
            before = times()
            for _ in range(20):
                time.sleep(0.02)
                assert times() == before
        awaited(lambda: all(now > was for now, was in zip(times(), before, strict=True)))


def test_sealing_by_another_process_counts(settings: Settings, tmp_path: Path) -> None:

    settings, port = replace(settings, archives=None), observed(settings)
    with running(settings) as sidecar:
        sidecar.complete(max_tokens=3)
        awaited(lambda: scraped(port)["unsealed_records", ""] == 1)
        before = scraped(port)["last_archive_timestamp_seconds", ""]
        awaited(lambda: scraped(port)["checkpoint_size", ""] == 1)
        seal(settings.log, str(tmp_path / "mounted" / "archives"), [SigningKey.read(settings.signing_keys[0])])
        awaited(lambda: scraped(port)["unsealed_records", ""] == 0)
        assert scraped(port)["last_archive_timestamp_seconds", ""] > before


def test_versions_free_space_and_the_state_of_log_and_server_are_there(settings: Settings) -> None:
    port = observed(settings)
    with running(settings) as sidecar:
        sidecar.await_ready()
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(build_versions().items()))
        assert f"{PREFIX}build_info{{{labels}}} 1.0" in text
        found = scraped(port)
        for folder in ("log", "mark", "archives"):
            free = os.statvfs(settings.archives or "")
            assert 0 < found["free_bytes", folder] <= free.f_blocks * free.f_frsize
        assert found["log_writable", ""] == found["upstream_up", ""] == found["workers", ""] == 1


def test_free_space_of_a_folder_that_is_gone_is_unknown(settings: Settings) -> None:
    port = observed(settings)
    with running(settings):
        shutil.rmtree(Path(settings.archives or "").parent)
        assert math.isnan(scraped(port)["free_bytes", "archives"])
        Path(settings.archives or "").parent.mkdir()


def test_a_server_that_serves_other_models_is_named_at_the_start_with_the_option_and_once(
    settings: Settings, upstream: Upstream
) -> None:
    upstream.models = ("org/other-model", "\x1b[2J\n" + "x" * 200, *(f"more-{at}" for at in range(9)))
    with running(settings) as sidecar:
        said = sidecar.await_event("upstream")
        assert said["unfit"] == "serves another model (--upstream-model)"
        names = said["serves"].split(", ")
        assert names[0] == "org/other-model"
        assert len(names) == 3
        assert all(len(name) <= 96 and name.isascii() and name.isprintable() for name in names)
        assert scraped(observed(settings))["upstream_up", ""] == 0
        assert "other" not in sidecar.await_ready(503)  # a client sees one of two states
        upstream.models = ("upstream-model",)
        sidecar.await_ready()
        awaited(lambda: scraped(observed(settings))["upstream_up", ""] == 1)
        upstream.models = ("yet-another",)
        sidecar.await_ready(503)
        assert sidecar.events("upstream")[-1]["serves"] is None
        assert "yet-another" not in sidecar.said.getvalue()


def test_a_server_that_cannot_be_reached_is_said_at_the_start_and_the_sidecar_runs(settings: Settings) -> None:

    with running(replace(settings, upstreams=replica_urls([f"http://127.0.0.1:{free_port()}"]))) as sidecar:
        assert sidecar.await_event("upstream")["unfit"] == "cannot be reached"
        assert sidecar.client.get("/health").status_code == 200


def _events(process: Process, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.said.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def test_a_full_disk_is_named_once_in_events_and_ready_and_so_is_its_end(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    port = free_port()
    config = config_file(
        tmp_path, model_folder, upstream.url, metrics=f"127.0.0.1:{port}", ready_every=0.1, checkpoint_every=600
    )
    process = started(config)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    body = {"model": "small", "prompt": "Once upon a time", "max_tokens": 3}

    def answered() -> int:
        return httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False).status_code

    def ready() -> str:
        return httpx2.get(f"{process.url}/ready", trust_env=False).text

    try:
        assert answered() == 200
        awaited(lambda: "ok" in ready())
        full = 4096  # of a page: no write to the log succeeds, not even to one that was opened again
        assert process.said.stat().st_size < full / 2  # or the events would not be written either
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        awaited(lambda: answered() == 503)
        assert ready() == '{"status":"the log cannot be written: disk full or failing"}'
        assert scraped(port)["log_writable", ""] == 0
        failures = scraped(port)["log_failures_total", ""]
        assert failures >= 1
        [failed] = _events(process, "log failed")
        assert failed["cause"] == "disk full or failing"
        assert process.log in failed["why"]
        assert "free space" in failed["do"]
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, unlimited)
        awaited(lambda: "ok" in ready())
        assert answered() == 200
        assert len(_events(process, "log failed")) == len(_events(process, "log recovered")) == 1
        assert scraped(port)["log_writable", ""] == 1
    finally:
        assert process.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("listen", "keys", "tls", "options"),
    [
        ("127.0.0.1:8080", False, False, []),
        ("localhost:8080", False, False, []),
        ("[::1]:8080", False, False, []),
        ("0.0.0.0:8080", True, True, []),
        ("0.0.0.0:8080", False, True, ["--api-keys"]),
        ("[::]:8080", True, False, ["--tls-certificate"]),
        ("10.0.0.1:8080", False, False, ["--api-keys", "--tls-certificate"]),
        ("sidecar.example.org:8080", False, False, ["--api-keys", "--tls-certificate"]),
    ],
)
def test_an_address_that_others_reach_is_warned_of_without_keys_or_tls(
    listen: str, keys: bool, tls: bool, options: list[str]
) -> None:
    found = exposures(Address.parse(listen), keys=keys, tls=tls)
    assert len(found) == len(options)
    for warning, option in zip(found, options, strict=True):
        assert option in warning
        assert f"--listen {listen}" in warning


def test_warnings_are_events_of_the_start(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    settings = settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        listen=Address(host="0.0.0.0", port=free_port()),
        metrics=Address(host="0.0.0.0", port=free_port()),
    )
    with running(settings) as sidecar:
        said = [event["why"] for event in sidecar.events("warning")]
    assert said == warnings(settings)
    assert len(said) == 3
    assert said[-1].startswith("--metrics 0.0.0.0")


def test_defaults_warn_of_nothing(sidecar: Sidecar) -> None:
    assert sidecar.events("warning") == []
