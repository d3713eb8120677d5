"""A checkpoint is the whole model, or is refused by the name of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.verifier.replay.transformers.tiny_models import ARCHITECTURES, SIZES, change_config, replayer_of, save_model
from weightwarden.extras import MissingExtra
from weightwarden.logger.errors import ModelError
from weightwarden.verifier.model.identity import identify_model

HEAD, NORM = "lm_head.weight", "model.norm.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "tiny", ARCHITECTURES["plain"]())


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Edit a folder's tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop(HEAD), rf"lacks {HEAD}"),
        (lambda tensors: tensors.pop(NORM), rf"lacks {NORM}"),
        (lambda tensors: tensors.update({"model.layers.0.surplus": torch.ones(2)}), "does not have, model.layers.0.su"),
        (lambda tensors: tensors.update({NORM: torch.ones(31)}), rf"{NORM} \(31,\), not \(32,\)"),
        (lambda tensors: tensors.clear() or tensors.update({NORM: torch.ones(32)}), r"and \d+ more"),
    ],
    ids=["no head", "no norm", "one too many", "another shape", "nearly nothing"],
)
def test_tensors_that_are_not_the_models_are_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(ModelError, match=said):
        replayer_of(folder)


def test_a_head_that_is_the_embedding_is_no_missing_tensor(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tied", transformers.LlamaConfig(**SIZES, tie_word_embeddings=True))
    assert HEAD not in load_file(folder / "model.safetensors")
    assert replayer_of(folder).shares_prefixes


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    model = transformers.AutoModelForCausalLM.from_config(ARCHITECTURES["plain"]())
    model.save_pretrained(folder, max_shard_size="40KB")
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    with pytest.raises(ModelError, match=shards[1].name):
        replayer_of(folder)


def test_a_file_that_is_cut_short_is_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cut short"):
        replayer_of(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "generation_config.json"])
def test_a_file_that_this_user_cannot_read_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()  # no user can read that as a file, not even root
    with pytest.raises(ModelError, match=rf"{folder / name}: cannot be read"):
        identify_model(folder)


def test_an_adapter_is_no_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ModelError, match="adapter"):
        replayer_of(folder)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors", "of a new kind"])
def test_weights_of_a_quantisation_that_is_not_here_are_refused(folder: Path, method: str) -> None:
    change_config(folder, lambda config: config.update(quantization_config={"quant_method": method, "bits": 4}))
    with pytest.raises((ModelError, MissingExtra), match="quanti"):
        replayer_of(folder)


def test_eight_bit_floats_without_scales_are_the_numbers_that_they_are(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({HEAD: tensors[HEAD].to(torch.float8_e4m3fn)}))
    kept = load_file(folder / "model.safetensors")[HEAD].float()
    model: Any = replayer_of(folder).model
    assert torch.equal(model.lm_head.weight, kept)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5", "vocab_size": 211}, "cannot be loaded"),
        ({"model_type": "of no known kind", "vocab_size": 211}, "cannot be loaded"),
        ({"vocab_size": 211}, "cannot be loaded"),
    ],
)
def test_what_is_no_language_model_is_refused(folder: Path, config: dict[str, object], said: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=said):
        replayer_of(folder)


def test_a_class_that_cannot_read_text_alone_is_refused(tmp_path: Path) -> None:
    config = transformers.IdeficsConfig(**SIZES, vision_config={"embed_dim": 32, "num_hidden_layers": 1})
    folder = save_model(tmp_path / "idefics", config)
    with pytest.raises(ModelError, match="cannot be computed here"):
        replayer_of(folder)
