"""The sway of a model's logits under rounding errors: where it is large, two honest computations disagree.

A prompt of a few odd tokens can bring a model to a point where errors of one part in 500, which every half-precision
server makes, are amplified from layer to layer until its logits differ by more than those of different tokens do. There
a replay in other arithmetic says nothing about the server.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

RELATIVE_ERROR = 2.0**-9
"""Of the output of every layer: half a unit in the last place of bfloat16."""
SEEDS = (1, 2, 3)
"""Of the errors: as many computations are compared."""
RIVALS = 8
"""Likeliest tokens, of each computation, that a token is compared with."""


@contextmanager
def rounding_errors(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Rounding errors of random sign: on the output of every layer that has parameters of its own, and on the residual
    stream after every block.

    A layer's error is the same at every position, so that a record sways alike in whatever batch it is computed.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)

    def rounded(_: torch.nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple) and output:
            return (rounded(_, __, output[0]), *output[1:])
        if not (isinstance(output, torch.Tensor) and output.is_floating_point()):
            return output
        signs = torch.randint(0, 2, output.shape[-1:], generator=generator, device=device) * 2 - 1
        return output * (1 + signs * RELATIVE_ERROR).to(output.dtype)

    layers = [layer for layer in model.modules() if next(layer.parameters(recurse=False), None) is not None]
    layers += [block for blocks in model.modules() if isinstance(blocks, torch.nn.ModuleList) for block in blocks]
    handles = [layer.register_forward_hook(rounded) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def largest_sway(computed: Sequence[torch.Tensor], claimed: torch.Tensor) -> torch.Tensor:
    """The sway of each position, logits [positions].

    The largest difference between two computations of by how much a claimed token's logit exceeds a likely token's.

    Args:
        computed: logits [positions, tokens] of each computation; -inf for tokens that the request excludes.
        claimed: column of the claimed token of each position, int64 [positions].
    """
    likely = torch.cat([logits.topk(min(RIVALS, logits.shape[1]), dim=1).indices for logits in computed], dim=1)
    leads = torch.stack([logits.gather(1, claimed[:, None]) - logits.gather(1, likely) for logits in computed])
    leads = torch.where(leads.isfinite(), leads, 0.0)  # excluded in all of them
    return leads.amax(0).sub(leads.amin(0)).amax(1)
