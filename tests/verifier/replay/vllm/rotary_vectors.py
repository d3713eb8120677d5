"""What vLLM's own rotary layers compute.

    python tests/verifier/replay/vllm/rotary_vectors.py > tests/data/vllm-rotary.json

Run with the interpreter of vLLM's environment; needs no weights and no GPU.
"""

import json
from typing import Any

HEAD, BASE, MAX_LENGTH, ORIGINAL = 16, 10000.0, 512, 32
POSITIONS = (0, 1, 7, 31, 40, 300, 511)
SHORT = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
LONG = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0]
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}
KINDS: dict[str, dict[str, Any]] = {
    "longrope": {**LONGROPE, "original_max_position_embeddings": ORIGINAL},
    "longrope with scales": {
        **LONGROPE,
        "original_max_position_embeddings": ORIGINAL,
        "short_mscale": 1.1,
        "long_mscale": 1.25,
    },
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": ORIGINAL},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
    },
}


def vectors() -> list[dict[str, Any]]:
    """Cosines and sines [positions, frequencies] of each kind, for two contexts of the server."""
    import torch
    from vllm.config import ModelConfig, VllmConfig, set_current_vllm_config
    from vllm.model_executor.layers import rotary_embedding

    found = []
    for kind, parameters in KINDS.items():
        for context in (ORIGINAL, MAX_LENGTH):
            model_config = object.__new__(ModelConfig)
            model_config.max_model_len = context
            config = VllmConfig()
            object.__setattr__(config, "model_config", model_config)
            rotary_embedding._ROPE_DICT.clear()
            with set_current_vllm_config(config):
                layer = rotary_embedding.get_rope(
                    HEAD,
                    MAX_LENGTH,
                    rope_parameters={"rope_theta": BASE, **parameters},
                    dtype=torch.float32,
                )
            cache = getattr(layer, "long_short_cos_sin_cache", None)
            offset = ORIGINAL if cache is not None and layer.use_long_rope else 0
            cache = layer.cos_sin_cache if cache is None else cache
            used = [p for p in POSITIONS if p < context]
            cos, sin = cache[torch.tensor(used) + offset].chunk(2, dim=-1)
            rounded = {
                name: [[round(value, 8) for value in row] for row in values.tolist()]
                for name, values in (("cos", cos), ("sin", sin))
            }
            found.append({"kind": kind, "context": context, "positions": used, **rounded})
    return found


if __name__ == "__main__":
    print("[\n" + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]")
