"""Batches of records: similar length, and a shared prefix where that pays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import IntArray

PASS_TOKENS = 64
"""What a forward pass costs besides its tokens, in tokens: sharing must save more."""
MAX_KEYS = 8
"""How many times the token budget the keys of a batch may be, shared ones counted for every record: they bound the
attention's memory."""


@dataclass
class _Open:
    """Records in whose prompts the first `shared` tokens are the same, and that no group has taken yet."""

    shared: int
    records: list[int]


def batches_of(prompts: Sequence[Sequence[int]], lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Batches of indices, every one in exactly one; the longest first, so that memory peaks at once.

    A batch computes its shared prefix once and the rest of every record padded to the longest: at most `token_budget`
    tokens, unless a single record is longer. The result depends on the records alone.

    Args:
        prompts: prompt token ids of each record. lengths: tokens of each record that the replay computes.
    """
    arrays = [np.asarray(prompt, np.int64) for prompt in prompts]
    batches: list[list[int]] = []
    for group in _groups(arrays, lengths, token_budget):
        shared = shared_prefix([arrays[index] for index in group])
        first = len(batches)
        for index in sorted(group, key=lambda i: (-lengths[i], i)):
            if len(batches) > first:
                count, width = len(batches[-1]) + 1, lengths[batches[-1][0]]
                fits = shared + count * (width - shared) <= token_budget and count * width <= MAX_KEYS * token_budget
                if fits:
                    batches[-1].append(index)
                    continue
            batches.append([index])
    return sorted(batches, key=lambda batch: -lengths[batch[0]])


def shared_prefix(prompts: Sequence[IntArray]) -> int:
    """Tokens that all prompts begin with, where computing them once pays; else 0.

    The last token of a prompt is never among them: its row is wanted for every record.
    """
    shared = min(len(prompt) for prompt in prompts) - 1
    for prompt in prompts[1:]:
        shared = _common(prompts[0], prompt, shared)
    return shared if (len(prompts) - 1) * shared > PASS_TOKENS else 0


def _common(one: IntArray, other: IntArray, most: int) -> int:
    """How many of the first `most` tokens are the same, up to the first that differs."""
    differ = np.flatnonzero(one[:most] != other[:most])
    return int(differ[0]) if len(differ) else most


def _groups(prompts: Sequence[IntArray], lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Records that are batched among themselves, by the prefixes that they share.

    The prompts in lexicographic order are the leaves of a tree of prefixes, which is walked from the left with a stack
    of the nodes that are open (the intervals of a longest-common-prefix array). A node that closes becomes a group when
    sharing its longer prefix saves more than its passes cost; else its records stay with their parent's.
    """
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].tolist())
    stack = [_Open(0, [])]
    groups = []

    def close(down_to: int) -> None:
        while stack[-1].shared > down_to:
            node = stack.pop()
            if stack[-1].shared < down_to:
                stack.append(_Open(down_to, []))
            if _saved(node, stack[-1].shared, lengths, token_budget) > 0:
                groups.append(node.records)
            else:
                stack[-1].records += node.records

    for at, index in enumerate(order):
        most = len(prompts[index]) - 1
        if at:
            before = prompts[order[at - 1]]
            close(_common(before, prompts[index], min(most, len(before) - 1)))
        if stack[-1].shared == most:
            stack[-1].records.append(index)
        else:
            stack.append(_Open(most, [index]))
    close(0)
    return [*groups, stack[0].records] if stack[0].records else groups


def _saved(node: _Open, parent: int, lengths: Sequence[int], token_budget: int) -> int:
    """Tokens saved by a group of its own, beside sharing only the parent's prefix."""
    rest = sum(lengths[index] - node.shared for index in node.records)
    passes = -(-rest // max(1, token_budget - node.shared))
    return len(node.records) * (node.shared - parent) - passes * (node.shared + PASS_TOKENS)
