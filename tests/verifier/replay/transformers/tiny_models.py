"""Random models of a few thousand weights, as folders: one of each kind of architecture that servers run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.transformers.model_loading import class_of, load_language_model
from weightwarden.verifier.replay.transformers.replayer import DTYPES, TransformersReplayer

VOCABULARY = 211
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
SECTIONS = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 3.0, 8.0, 20.0],
    "original_max_position_embeddings": 48,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "depth": 1,
    "num_attention_heads": 4,
    "num_heads": 4,
    "image_size": 28,
    "patch_size": 14,
    "out_hidden_size": 32,
}


def _with_images(kind: str, text: dict[str, Any], **more: Any) -> Any:
    ids = {f"{what}_token_{how}": 210 for what in ("image", "video") for how in ("id", "index")}
    vision = {**_VISION, **more}
    if kind == "mistral3":
        vision["model_type"] = "pixtral"
    return transformers.CONFIG_MAPPING[kind](text_config={**SIZES, **text}, vision_config=vision, **ids)


def phi3(**more: Any) -> Any:
    """A Phi-3 for long contexts."""
    return transformers.Phi3Config(
        **{**SIZES, "original_max_position_embeddings": 48, "rope_parameters": {**LONGROPE, "rope_theta": 1e4}, **more}
    )


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "plain": lambda: transformers.LlamaConfig(**SIZES),
    "absolute positions": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    ),
    "sliding window": lambda: transformers.MistralConfig(**SIZES, sliding_window=16),
    "windows by layer, soft caps": lambda: transformers.Gemma2Config(**SIZES, head_dim=8, sliding_window=16),
    "rotation by length: dynamic": lambda: transformers.LlamaConfig(
        **SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    ),
    "rotation by length: long": phi3,
    "experts": lambda: transformers.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
    "latent attention, experts": lambda: transformers.DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 4},
        **EXPERTS,
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        n_shared_experts=1,
        first_k_dense_replace=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    ),
    "state space": lambda: transformers.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, state_size=8, num_hidden_layers=2, time_step_rank=4
    ),
    "linear attention, experts": lambda: transformers.Qwen3NextConfig(
        **SIZES,
        **EXPERTS,
        head_dim=8,
        num_experts=4,
        shared_expert_intermediate_size=32,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        layer_types=["linear_attention", "full_attention"],
    ),
    "images: Gemma 3": lambda: _with_images("gemma3", {"head_dim": 8, "sliding_window": 16}),
    "images: Llama 4": lambda: _with_images(
        "llama4",
        {
            "head_dim": 8,
            "intermediate_size_mlp": 64,
            "attention_chunk_size": 16,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        },
        vision_output_dim=32,
        projector_input_dim=32,
        projector_output_dim=32,
    ),
    "images: Mistral 3": lambda: _with_images("mistral3", {"model_type": "mistral", "head_dim": 8}),
    "images: Qwen2.5-VL": lambda: _with_images("qwen2_5_vl", {"rope_parameters": SECTIONS}),
    "images: Qwen3-VL": lambda: _with_images(
        "qwen3_vl", {"head_dim": 8, "rope_parameters": SECTIONS}, deepstack_visual_indexes=[0]
    ),
    "images: GLM-4V": lambda: _with_images("glm4v", {"rope_parameters": {**SECTIONS, "partial_rotary_factor": 1.0}}),
}


def save_model(folder: Path, config: Any, dtype: torch.dtype = torch.float32) -> Path:
    """Write a random model of a configuration; it has no tokenizer."""
    torch.manual_seed(0)
    class_of(config).from_config(config, dtype=dtype).save_pretrained(folder)
    return folder


def replayer_of(folder: Path, *, dtype: str = "float32", max_model_len: int | None = None) -> TransformersReplayer:
    """A replayer of such a folder, as `TransformersReplayer.load` makes it but for the tokenizer."""
    identity = identify_model(folder)
    model = load_language_model(identity, DTYPES[dtype], "cpu")
    return TransformersReplayer(model, None, identity, 2048, max_model_len)


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit a folder's config.json."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
