"""`verify` against the real server, and the traffic files that it is given."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.main import verify
from logger.record import Record
from verifier.vllm.client import VllmClient

CONTEXT = 256
"""The server's context length, tokens: short, so that it can be filled."""


def written(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in records), encoding="utf-8")
    return path


def invoke(server: VllmClient, *arguments: Any) -> Result:
    options = ["--replay-url", server.url]
    if arguments[0] in ("run", "calibrate"):
        options += (
            ["--replay", "vllm", "--max-model-len", str(CONTEXT)] if arguments[0] == "run" else ["--replay", "vllm"]
        )
    return CliRunner().invoke(verify, [*map(str, arguments), *options])
