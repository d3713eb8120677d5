"""Half-precision matrix products on a CPU that has none: in float32, rounded after."""

from typing import Self

import torch
from torch import nn
from torch.nn import functional

WITHOUT_HALF_PRECISION = "AVX2"
"""The instruction set, as torch names it, with which it works through half-precision products number by number."""
MIN_ROWS = 24
"""With fewer rows, torch's own products take less time than to turn the weights into float32."""
_SLICE_ELEMENTS = 1 << 24
"""Weights that are turned into float32 at a time."""


class Float32Products(nn.Linear):
    """A linear layer of half precision whose sums are float32's, of inputs, weights and outputs that are rounded.

    The same as torch's own but for the order of sums, which its own does not promise, either.
    """

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """In place of a layer, with the same parameters."""
        made = cls(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # named as in the base class
        """Outputs [..., out_features] in the dtype of the inputs [..., in_features]."""
        if input.numel() < MIN_ROWS * self.in_features:
            return super().forward(input)
        values = input.float()
        step = max(1, _SLICE_ELEMENTS // self.in_features)
        parts = []
        for start in range(0, self.out_features, step):
            bias = None if self.bias is None else self.bias[start : start + step].float()
            part = functional.linear(values, self.weight[start : start + step].float(), bias)
            parts.append(part.to(input.dtype))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def with_float32_products(model: nn.Module) -> None:
    """Have the linear layers of a half-precision model on the CPU compute in float32 where that is faster there."""
    if torch.backends.cpu.get_cpu_capability() != WITHOUT_HALF_PRECISION:
        return
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if type(layer) is nn.Linear and layer.weight.dtype != torch.float32 and layer.weight.device.type == "cpu":
            model.set_submodule(name, Float32Products.of(layer))
