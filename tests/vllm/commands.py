"""`verify` against the real server, and the traffic files that it is given."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from benchmarks.recording.vllm_server import settings_here
from weightwarden.cli.main import verify
from weightwarden.logger.record import Record
from weightwarden.verifier.replay.vllm.client import VllmClient

CONTEXT = 384
"""The server's context length, tokens: short, so that it can be filled, and long enough for two tools."""


def written(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in records), encoding="utf-8")
    return path


def invoke(server: VllmClient, *arguments: Any) -> Result:
    options = ["--replay-url", server.url]
    if arguments[0] == "run":
        options += ["--replayer", "vllm", "--max-model-len", str(CONTEXT)]
    elif arguments[0] == "calibrate":
        options += ["--replayer", "vllm", "--dtype", settings_here().dtype]
    return CliRunner().invoke(verify, [*map(str, arguments), *options])
