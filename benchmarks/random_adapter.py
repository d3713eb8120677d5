"""A random low-rank adapter of a model, as a folder that PEFT and vLLM read."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from weightwarden.logger.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_random_adapter(
    folder: Path,
    model: Path,
    *,
    seed: int,
    rank: int = 8,
    strength: float = 0.3,
    modules: tuple[str, ...] = MODULES,
) -> Path:
    """Write an adapter on a model folder of Llama's kind, and return its folder.

    Args:
        folder: the new folder.
        model: the model's folder.
        seed: seed of the matrices.
        rank: their rank.
        strength: size of what the adapter adds to each weight matrix, over that of the matrix (Frobenius norms).
        modules: the layers that it changes.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for shard in sorted(model.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as stream:
            for name in sorted(stream.keys()):
                layer = name.removesuffix(".weight")
                if layer == name or layer.rsplit(".", 1)[-1] not in modules:
                    continue
                weight = stream.get_tensor(name).float()
                down = torch.randn(rank, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
                up = torch.randn(weight.shape[0], rank, generator=generator)
                product = ((up.T @ up) @ (down @ down.T)).trace().sqrt()  # Frobenius norm of up @ down
                up *= strength * weight.norm() / product
                tensors[f"base_model.model.{layer}.lora_A.weight"] = down
                tensors[f"base_model.model.{layer}.lora_B.weight"] = up.contiguous()
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.name,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": list(modules),
        "bias": "none",
        "inference_mode": True,
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
    save_file(tensors, folder / ADAPTER_WEIGHTS)
    return folder
