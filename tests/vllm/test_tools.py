"""Tools and formats under grammars through the sidecar, by three wires, from a real vLLM server."""

import os
from pathlib import Path

import pytest

from benchmarks.grammars.through_sidecar import KINDS, OFFERED, TEMPLATE, ask
from benchmarks.recording.grammars import guidance_version
from tests.logger.sidecar.process import config_file, started
from tests.places import BUNDLED_POLICY
from tests.vllm.commands import CONTEXT
from tests.vllm.test_sidecar import verified
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm


def test_answers_under_grammars_by_three_wires_are_sealed_and_clear(
    server: VllmClient, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "archives").mkdir()
    version = guidance_version(Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"]))
    config = config_file(
        tmp_path,
        model_folder,
        server.url,
        **{
            "upstream-model": server.served_model()[0],
            "model-name": "source",
            "max-model-len": CONTEXT,
            "archives": str(tmp_path / "archives"),
            "chat-template": str(TEMPLATE),
            "grammar-backend": f"guidance=={version}",
        },
    )
    (tmp_path / "log.key.pub").write_text(f"{SigningKey.read(tmp_path / 'log.key').verifier}\n")
    process = started(config)
    answers = ask(process.url, 2, tokens=40)
    assert process.stop(15) == 0, process.said.read_text()
    reader = LogReader(process.log)
    records = [decode_record(entry) for entry in reader.entries(0, reader.size())]
    assert len(records) == len(answers) == 2 * len(KINDS)
    assert all(record.grammar is not None and record.grammar.version == version for record in records)
    forced = [one for one in answers if ("any" in one.kind or "required" in one.kind or "named" in one.kind)]
    assert all(one.calls or one.cut for one in forced)
    assert {one.kind for one in answers} >= set(OFFERED)
    result, report = verified(tmp_path, "--policy", BUNDLED_POLICY)
    assert result.exit_code == 0, result.output
    assert (report["verified_records"], report["flagged"]) == (len(records), [])
