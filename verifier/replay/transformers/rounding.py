"""The sway of a model's logits under rounding errors: where it is large, two honest computations disagree.

A prompt of a few odd tokens can bring a model to a point where errors of one part in 500, which every half-precision
server makes, are amplified from layer to layer until its logits differ by more than the logits of different tokens. A
replay in other arithmetic is then no evidence about the server.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from weightwarden.verifier.replay.transformers.adapters import in_adapter

RELATIVE_ERROR = 2.0**-9
"""Relative error of the output of every layer: half a unit in the last place of bfloat16."""
SEEDS = (1, 2, 3)
"""Seeds of the errors, one for each computation that is compared."""
RIVALS = 8
"""Number of likeliest tokens, of each computation, with which a token is compared."""


@contextmanager
def rounding_errors(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Rounding errors of random sign in a model, until the block ends.

    They are added to the output of every layer that has its own parameters, and to the residual stream after every
    block. Low-rank adapters have none of their own, so that the errors do not depend on the adapters that are loaded. A
    layer's error is the same at every position and in every pass, so that a record sways alike in every batch, with and
    without a shared prefix.
    """
    layers = [
        layer
        for name, layer in model.named_modules()
        if next(layer.parameters(recurse=False), None) is not None and not in_adapter(name)
    ]
    layers += [block for blocks in model.modules() if isinstance(blocks, torch.nn.ModuleList) for block in blocks]
    errors = [_LayerError(torch.Generator().manual_seed(len(layers) * seed + at)) for at in range(len(layers))]
    handles = [layer.register_forward_hook(error) for layer, error in zip(layers, errors, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _LayerError:
    """The error of one layer: a factor for each channel of its output, drawn at the first output."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._factors: torch.Tensor | None = None

    def __call__(self, _layer: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple) and output:
            return (self._of(output[0]), *output[1:])
        return self._of(output)

    def _of(self, output: Any) -> Any:
        """The output with its error. Values that are not numeric are unchanged."""
        if not (isinstance(output, torch.Tensor) and output.is_floating_point()):
            return output
        if self._factors is None or len(self._factors) != output.shape[-1]:
            signs = torch.randint(0, 2, output.shape[-1:], generator=self._generator) * 2 - 1
            self._factors = (1 + signs * RELATIVE_ERROR).to(output.device, output.dtype)
        return output * self._factors


def largest_sway(computed: Sequence[torch.Tensor], claimed: torch.Tensor) -> torch.Tensor:
    """The sway of each position, logits [positions]; larger is less steady.

    The *lead* of a claimed token over a likely one is the difference of their logits. The sway is the largest
    difference of a lead between two computations.

    Args:
        computed: logits [positions, tokens] of each computation; -inf for tokens that the request excludes.
        claimed: column of the claimed token of each position, int64 [positions].
    """
    likely = torch.cat([logits.topk(min(RIVALS, logits.shape[1]), dim=1).indices for logits in computed], dim=1)
    leads = torch.stack([logits.gather(1, claimed[:, None]) - logits.gather(1, likely) for logits in computed])
    leads = torch.where(leads.isfinite(), leads, 0.0)  # excluded in all of them
    return leads.amax(0).sub(leads.amin(0)).amax(1)
