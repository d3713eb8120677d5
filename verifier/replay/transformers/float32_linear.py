"""Half-precision matrix products in float32, rounded afterwards, for CPUs without half-precision instructions."""

from typing import Self

import torch
from torch import nn
from torch.nn import functional

WITHOUT_HALF_PRECISION = "AVX2"
"""Name, in torch, of the instruction set with which it computes half-precision products element by element."""
MIN_ROWS = 24
"""Number of rows below which torch's own products take less time than the conversion of weights to float32."""
_SLICE_ELEMENTS = 1 << 24
"""Number of weights converted to float32 at a time."""


class Float32Products(nn.Linear):
    """A half-precision linear layer with sums in float32, and with rounded inputs, weights and outputs.

    Equal to torch's own layer except for the order of sums, which torch's does not promise either.
    """

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """The replacement of a layer, with the same parameters."""
        made = cls(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # named like the method of the base class
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
    """Replace the linear layers of a half-precision model on the CPU by float32 products, if these are faster there."""
    if torch.backends.cpu.get_cpu_capability() != WITHOUT_HALF_PRECISION:
        return
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if type(layer) is nn.Linear and layer.weight.dtype != torch.float32 and layer.weight.device.type == "cpu":
            model.set_submodule(name, Float32Products.of(layer))
