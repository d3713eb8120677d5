"""Rotary factors that depend on a length, pinned to those of the server instead of the other sequences of the batch.

transformers selects them by the longest sequence of a batch. vLLM selects them once, at its start.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from weightwarden.logger.errors import ModelError
from weightwarden.verifier.model.identity import ModelIdentity

LONGROPE, DYNAMIC, PINNED = "longrope", "dynamic", "default"


class PinnedRotation(nn.Module):
    """Cosines and sines of positions, with constant factors."""

    inv_freq: torch.Tensor

    def __init__(self, inv_freq: torch.Tensor, scaling: float) -> None:
        super().__init__()
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.attention_scaling = scaling

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines [batch, positions, 2 frequencies] in the dtype of `x`."""
        angles = position_ids[..., None].float() * self.inv_freq.float()
        both = torch.cat((angles, angles), dim=-1)
        return tuple((f(both) * self.attention_scaling).to(x.dtype) for f in (torch.cos, torch.sin))  # type: ignore[return-value]


def pin_rotation(model: nn.Module, identity: ModelIdentity, max_model_len: int | None) -> ModelIdentity:
    """Pin a model to the rotary factors of one server, for all sequences.

    LongRoPE: the long factors where the server's context exceeds the original one, the short ones elsewhere, for
    sequences of all lengths; cosines and sines are multiplied by long_mscale or short_mscale, by default sqrt(1 +
    ln(longest / original) / ln(original)) (vLLM 0.32.0, `Phi3LongRoPEScaledRotaryEmbedding`).
    Dynamic NTK: the plain factors, which hold up to the model's own context (`DynamicNTKScalingRotaryEmbedding`).

    Args:
        max_model_len: the server's context length, tokens; None for the model's default.

    Returns:
        The identity, with `longest_context` lowered to the lengths for which the factors hold.

    Raises:
        ModelError: the factors depend on a length in a way that is not known of the server.
    """
    found: list[tuple[str, Any]] = list(model.named_modules())
    for name, module in found:
        kind = getattr(module, "rope_type", None)
        if isinstance(kind, dict) and {LONGROPE, DYNAMIC} & set(kind.values()):
            raise ModelError(f"{identity.path}: rotary factors that depend on the length and the layer: not supported")
        if kind == DYNAMIC:
            if "max_trained_positions" in _parameters(module):
                raise ModelError(f"{identity.path}: rope_scaling: max_trained_positions: not supported")
            module.rope_type = PINNED
        if kind == LONGROPE:
            if identity.original_context is None:
                raise ModelError(f"{identity.path}: rope_scaling: no original_max_position_embeddings")
            long = identity.takes_long_factors(max_model_len)
            _pin_longrope(model, name, module, identity.original_context, long=long)
            if not long:
                identity = replace(identity, longest_context=identity.original_context)
    return identity


def _pin_longrope(model: nn.Module, name: str, module: Any, original: int, *, long: bool) -> None:
    parameters, config = _parameters(module), module.config
    factors = torch.tensor(parameters["long_factor" if long else "short_factor"], dtype=torch.float32)
    powers = torch.arange(0, 2 * len(factors), 2, dtype=torch.float32) / (2 * len(factors))
    inv_freq = 1.0 / (factors * parameters["rope_theta"] ** powers)
    scaling = parameters.get("long_mscale" if long else "short_mscale")
    if scaling is None:
        scale = config.max_position_embeddings / original
        scaling = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
    device = next(model.parameters()).device
    if type(module).__name__ == "PhimoeRotaryEmbedding":  # computes its factors again in every pass
        model.set_submodule(name, PinnedRotation(inv_freq.to(device), scaling))
        return
    module.register_buffer("inv_freq", inv_freq.to(device), persistent=False)
    module.attention_scaling = scaling
    module.rope_type = PINNED


def _parameters(module: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = module.config.rope_parameters
    return parameters
