"""Folders of adapters whose weights nobody computes with."""

import json
from pathlib import Path


def write_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    """An adapter with those bytes as its weights."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "small",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder
