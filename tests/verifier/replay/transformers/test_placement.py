"""Models on all devices together, and models with quantised weights."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.verifier.replay.transformers.test_replayer import (
    assert_rows_of_the_model,
    rows_by_position,
    tiny_records,
)
from tests.verifier.replay.transformers.tiny_models import ARCHITECTURES, change_config, replayer_of, save_model
from weightwarden.extras import MissingExtra
from weightwarden.logger.errors import ModelError
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.transformers.model_loading import EVERY_GPU, load_language_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer


def _set(values: dict[str, Any], loaded: dict[str, Any]) -> None:
    loaded.update(values)


def placed(folder: Path, device: str) -> TransformersReplayer:
    identity = identify_model(folder)
    return TransformersReplayer(load_language_model(identity, torch.float32, device), None, identity, 2048)


def test_all_devices_together_need_no_gpu(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    records = tiny_records(3, 4)
    assert_rows_of_the_model(folder, records, rows_by_position(placed(folder, EVERY_GPU), records))


def test_weights_that_accelerate_leaves_on_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does where the GPUs together are too small."""
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    small = {0: "40KB", "cpu": "40KB"} if torch.cuda.is_available() else {"cpu": "40KB"}
    load = transformers.AutoModelForCausalLM.from_pretrained
    limited = partial(load, max_memory=small, offload_folder=str(tmp_path / "rest"))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", limited)
    with pytest.raises(ModelError, match="too large for the memory of all GPUs"):
        placed(folder, EVERY_GPU)


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm", "zero_point": True}, "gptqmodel"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 16}, "optimum"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
    ],
    ids=lambda value: value["quant_method"] if isinstance(value, dict) else "",
)
def test_a_quantisation_whose_package_is_missing_names_it(tmp_path: Path, config: dict[str, Any], package: str) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    change_config(folder, lambda loaded: loaded.update(quantization_config=config))
    with pytest.raises(MissingExtra, match=rf"(?i)quantised weights need another package: .*{package}"):
        replayer_of(folder)


def test_the_models_digest_covers_how_its_weights_are_quantised(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    digests = {identify_model(folder).digest}
    for bits in (4, 8):
        config = {"quantization_config": {"quant_method": "gptq", "bits": bits, "group_size": 16}}
        change_config(folder, partial(_set, config))
        digests.add(identify_model(folder).digest)
    assert len(digests) == 3


def test_weights_in_8_bits_are_replayed_as_they_are(tmp_path: Path) -> None:
    """The rows are those of a model whose weights are the rounded ones."""
    pytest.importorskip("compressed_tensors", reason="needs compressed-tensors")
    folder = save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())
    rounded = save_model(tmp_path / "rounded", ARCHITECTURES["plain"]())
    tensors = load_file(folder / "model.safetensors")
    dequantised = dict(tensors)
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        scale = tensors[name].abs().amax(dim=1, keepdim=True) / 127
        quantised = (tensors[name] / scale).round().to(torch.int8)
        dequantised[name] = quantised * scale
        packed = (quantised.short() + 128).to(torch.uint8).view(torch.int32)  # four weights a number
        del tensors[name]
        shape = torch.tensor(quantised.shape)
        tensors |= {f"{name}_packed": packed, f"{name}_shape": shape, f"{name}_scale": scale}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(dequantised, rounded / "model.safetensors", metadata={"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    config = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }
    change_config(folder, lambda loaded: loaded.update(quantization_config=config))
    records = tiny_records(3, 8)
    assert_rows_of_the_model(rounded, records, rows_by_position(replayer_of(folder), records))
