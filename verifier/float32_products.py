"""Half-precision matrix products on a CPU that has none: in float32, rounded after."""

from typing import Self

import torch
from torch import nn
from torch.nn import functional

WITHOUT_HALF_PRECISION = ("NO AVX", "DEFAULT", "AVX2")
"""Instruction sets, as torch names them, with which it works through half-precision products number by number."""


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
        bias = None if self.bias is None else self.bias.float()
        return functional.linear(input.float(), self.weight.float(), bias).to(input.dtype)


def with_float32_products(model: nn.Module) -> None:
    """Have the linear layers of a half-precision model on the CPU compute in float32 where that is all the CPU has."""
    if torch.backends.cpu.get_cpu_capability() not in WITHOUT_HALF_PRECISION:
        return
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.Linear and layer.weight.dtype != torch.float32 and layer.weight.device.type == "cpu":
            model.set_submodule(name, Float32Products.of(layer))
