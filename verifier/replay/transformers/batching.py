"""Batches of records: similar length, and a shared prefix where sharing saves time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import IntArray

PASS_TOKENS = 64
"""Fixed cost of a forward pass, in tokens: sharing must save more."""
MAX_KEYS = 8
"""Limit of a batch's keys as a multiple of the token budget, with shared keys counted for every record. It bounds the
attention's memory.
"""


@dataclass
class _Open:
    """Records with the same first `shared` prompt tokens that belong to no group yet."""

    shared: int
    records: list[int]


def batches_of(prompts: Sequence[Sequence[int]], lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Batches of indices, each index in exactly one. The longest records come first, so that memory peaks at once.

    A batch computes its shared prefix once and the rest of every record padded to the longest: at most `token_budget`
    tokens, unless a single record is longer. The result depends only on the records.

    Args:
        prompts: prompt token ids of each record.
        lengths: tokens of each record that the replay computes.
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
    """Number of first tokens that all prompts share, if computing them once saves time; else 0.

    The last token of a prompt is never shared: its row is needed for every record.
    """
    shared = min(len(prompt) for prompt in prompts) - 1
    for prompt in prompts[1:]:
        shared = _common(prompts[0], prompt, shared)
    return shared if (len(prompts) - 1) * shared > PASS_TOKENS else 0


def _common(one: IntArray, other: IntArray, most: int) -> int:
    """Number of equal tokens among the first `most`, up to the first that differs."""
    differ = np.flatnonzero(one[:most] != other[:most])
    return int(differ[0]) if len(differ) else most


def _groups(prompts: Sequence[IntArray], lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Records that are batched together, by the prefixes that they share.

    The prompts in lexicographic order are the leaves of a tree of prefixes, which is walked from the left with a stack
    of the open nodes (the intervals of a longest-common-prefix array). A node that closes becomes a group if sharing
    its longer prefix saves more than its passes cost; otherwise its records stay with their parent's.
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
    """Tokens saved by a separate group, compared with sharing only the parent's prefix."""
    rest = sum(lengths[index] - node.shared for index in node.records)
    passes = -(-rest // max(1, token_budget - node.shared))
    return len(node.records) * (node.shared - parent) - passes * (node.shared + PASS_TOKENS)
