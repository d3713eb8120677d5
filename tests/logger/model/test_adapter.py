import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.logger.model.small_adapter import write_adapter
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters, vllm_arguments


def change(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_digest_is_of_what_the_adapter_computes(tmp_path: Path) -> None:
    one, other = write_adapter(tmp_path / "one"), write_adapter(tmp_path / "other")
    digest = AdapterFiles.read("a", one).digest
    change(other, base_model_name_or_path="/elsewhere", peft_version="9", inference_mode=False)
    change(other, target_modules=["v_proj", "q_proj"])  # PEFT writes a set
    assert AdapterFiles.read("b", other).digest == digest
    change(other, lora_alpha=17)
    changed = AdapterFiles.read("b", other).digest
    assert changed != digest
    change(other, lora_alpha=16)
    (other / "adapter_model.safetensors").write_bytes(b"other weights")
    assert AdapterFiles.read("b", other).digest not in (digest, changed)


def test_the_largest_rank_counts(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "one")
    assert AdapterFiles.read("a", folder).rank == 8
    change(folder, rank_pattern={"q_proj": 24})
    assert AdapterFiles.read("a", folder).rank == 24


def test_a_server_is_started_with_the_adapters(tmp_path: Path) -> None:
    folders = [write_adapter(tmp_path / name) for name in ("one", "two")]
    change(folders[1], r=20)
    found = read_adapters([("a", folders[0])], [])
    assert vllm_arguments(list(found.values())) == [
        *("--enable-lora", "--max-lora-rank", "8", "--max-loras", "1", "--max-cpu-loras", "1"),
        *("--lora-modules", f"a={folders[0]}"),
    ]
    found = read_adapters([], [tmp_path])
    assert vllm_arguments(list(found.values()))[2:7] == ["32", "--max-loras", "2", "--max-cpu-loras", "2"]
    assert vllm_arguments([]) == []


def test_adapters_are_named_by_options_and_by_folders(tmp_path: Path) -> None:
    many = tmp_path / "many"
    for name in ("b", "c", ".hidden"):
        write_adapter(many / name)
    alone = write_adapter(tmp_path / "alone")
    assert list(read_adapters([("a", alone)], [many])) == ["a", "b", "c"]
    with pytest.raises(ModelError, match=r"alone: b is the name of the adapter in|b is the name of the adapter in"):
        read_adapters([("b", alone)], [many])
    with pytest.raises(ModelError, match="no such folder of adapters"):
        read_adapters([], [tmp_path / "missing"])


def _no_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def _no_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _broken(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_config, "one: no adapter: there is no adapter_config.json"),
        (_no_weights, "one: there is no adapter_model.safetensors"),
        (_pickled, "adapter_model.bin is pickled, which is refused"),
        (_broken, "adapter_config.json: not JSON"),
        (lambda folder: change(folder, peft_type="IA3"), "peft_type: IA3, and only LORA"),
        (lambda folder: change(folder, r=0), "r, rank_pattern: not ranks"),
        (lambda folder: change(folder, r=True), "r, rank_pattern: not ranks"),
        (lambda folder: change(folder, rank_pattern={"a": "8"}), "r, rank_pattern: not ranks"),
        (lambda folder: change(folder, target_modules=None), "target_modules: not names"),
        (lambda folder: change(folder, use_dora=True), "use_dora: not supported"),
        (lambda folder: change(folder, modules_to_save=["lm_head"]), "modules_to_save: not supported"),
        (lambda folder: change(folder, bias="all"), "bias: not supported"),
        (lambda folder: change(folder, init_lora_weights="pissa"), "pissa changes the base model"),
    ],
)
def test_a_folder_that_is_no_plain_adapter_is_refused(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    folder = write_adapter(tmp_path / "one")
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        AdapterFiles.read("a", folder)


@pytest.mark.parametrize("name", ["", "a" * 257, "a=b", "a\x1b[0m"])
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="not the name of an adapter"):
        AdapterFiles.read(name, write_adapter(tmp_path / "one"))
