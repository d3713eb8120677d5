"""Keys and values of the prefix that a batch of sequences shares, computed once."""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class _PrefixLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """One layer's keys and values [1, heads, prefix, size] of the prefix, placed before those of every sequence.

    Nothing of a sequence is kept, so that memory holds one layer of the batch at a time.
    """

    def __init__(self, prefix: DynamicLayer) -> None:
        super().__init__()
        self.lazy_initialization(prefix.keys, prefix.values)
        self.keys, self.values = prefix.keys, prefix.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of prefix and sequences together, [batch, heads, prefix + sequence, size]."""
        del args, kwargs
        whole = len(key_states), -1, -1, -1
        return (
            torch.cat([self.keys.expand(whole), key_states], dim=-2),
            torch.cat([self.values.expand(whole), value_states], dim=-2),
        )


def can_share(computed: Cache) -> bool:
    """True if a prefix's keys and values are the same whatever follows: plain attention over the whole context."""
    return all(type(layer) is DynamicLayer for layer in computed.layers)


def prefix_cache(computed: Cache) -> Cache:
    """A cache for any number of sequences that begin with the computed prefix, itself a batch of one.

    Raises:
        ValueError: a layer keeps more or less than all keys and values.
    """
    layers = []
    for layer in computed.layers:
        if type(layer) is not DynamicLayer:
            raise ValueError(f"a layer of kind {type(layer).__name__} cannot be shared")
        layers.append(_PrefixLayer(layer))
    return Cache(layers=layers)
