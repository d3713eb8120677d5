"""The options of adapters, from the command line to the replayer and the sidecar's settings."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.logger.model.small_adapter import write_adapter
from tests.places import BUNDLED_POLICY
from tests.recorded import GREEDY, records_of
from weightwarden.cli.main import verify
from weightwarden.cli.options.replayer import with_adapters
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.verifier.model.identity import ModelIdentity

IDENTITY = ModelIdentity(path=Path(), digest="sha256:" + "0" * 64, vocabulary=9, context_length=9, eos_ids=())


def test_the_options_of_a_replay_name_copies_by_digest(tmp_path: Path) -> None:
    alone, one = write_adapter(tmp_path / "alone", b"1"), write_adapter(tmp_path / "many" / "one", b"2")
    options = ReplayOptions(adapter=(("a", alone),), adapters=(tmp_path / "many",))
    assert options.has_adapters
    found = with_adapters(IDENTITY, options).adapters
    assert {digest: files.name for digest, files in found.items()} == {
        AdapterFiles.read("a", alone).digest: "a",
        AdapterFiles.read("one", one).digest: "one",
    }
    assert with_adapters(IDENTITY, ReplayOptions()) == IDENTITY


@pytest.mark.parametrize("given", ["tone", "=folder", "tone="])
def test_an_adapter_is_a_name_and_a_folder(given: str) -> None:
    result = CliRunner().invoke(verify, ["vllm", "start", "--adapter", given])
    assert result.exit_code == 2
    assert "not NAME=FOLDER" in result.output


def test_the_printed_server_serves_the_adapters(tmp_path: Path, model_folder: Path) -> None:
    folder = write_adapter(tmp_path / "tone")
    command = ("vllm", "start", "--model", str(model_folder), "--adapter", f"tone={folder}")
    result = CliRunner().invoke(verify, [*command, "--processor", "avx-512"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"--enable-lora --max-lora-rank 8 --max-loras 1 --max-cpu-loras 1 --lora-modules tone={folder}" in (
        result.output
    )


def test_a_run_refuses_a_record_whose_adapter_was_not_given(tmp_path: Path) -> None:
    files = AdapterFiles.read("tone", write_adapter(tmp_path / "tone"))
    record = records_of(GREEDY)[0].model_copy(update={"adapter": files.of_record()})
    traffic = tmp_path / "t.jsonl"
    traffic.write_text(record.model_dump_json(exclude_defaults=True) + "\n", encoding="utf-8")
    command = ("run", str(traffic), "--policy", str(BUNDLED_POLICY), "--unsafe-unsigned")
    result = CliRunner().invoke(verify, command)
    assert result.exit_code == 2
    assert f"t.jsonl:1: adapter: tone ({files.digest}) was not given: --adapter tone=FOLDER" in result.output


def test_the_sidecar_reads_the_options(tmp_path: Path) -> None:
    command = ("run", "--upstream", "http://127.0.0.1:1", "--model-dir", str(tmp_path), "--log", str(tmp_path / "l.db"))
    keys = ("--seed-key", str(tmp_path / "s"), "--signing-key", str(tmp_path / "k"), "--sampler", "vllm-v2")
    result = CliRunner().invoke(sidecar, [*command, *keys, "--engine-version", "0.32.0", "--adapter", "tone"])
    assert result.exit_code == 2
    assert "not NAME=FOLDER" in result.output
