"""Batches hold every record once, within the budget, and share prefixes where that saves tokens."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from weightwarden.verifier.replay.transformers.batching import MAX_KEYS, PASS_TOKENS, batches_of, shared_prefix

PROMPTS = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=30)


def cost(batches: list[list[int]], prompts: list[list[int]], lengths: list[int]) -> int:
    """Tokens computed, padding included, and what the passes cost."""
    total = 0
    for batch in batches:
        shared = shared_prefix([np.array(prompts[i]) for i in batch])
        total += shared + len(batch) * (max(lengths[i] for i in batch) - shared) + PASS_TOKENS * (1 + (shared > 0))
    return total


@given(PROMPTS, st.sampled_from([1, 20]), st.integers(1, 200), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_every_record_is_in_one_batch_within_the_budget(
    prompts: list[list[int]], times: int, budget: int, seed: int
) -> None:
    stretched = [[token for token in prompt for _ in range(times)] for prompt in prompts]
    rng = np.random.default_rng(seed)
    lengths = [len(prompt) + int(rng.integers(0, 40)) for prompt in stretched]
    batches = batches_of(stretched, lengths, budget)
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(prompts)))
    assert batches == batches_of(stretched, lengths, budget)
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, width in zip(batches, longest, strict=True):
        first = np.array(stretched[batch[0]])
        common = min(
            next((at for at, (a, b) in enumerate(zip(first, stretched[i], strict=False)) if a != b), 10**9)
            for i in batch
        )
        common = min(common, min(len(stretched[i]) for i in batch) - 1)
        shared = shared_prefix([np.array(stretched[i]) for i in batch])
        assert shared in (0, common)
        if len(batch) > 1:
            assert common + len(batch) * (width - common) <= budget
            assert len(batch) * width <= MAX_KEYS * budget


def test_records_of_two_system_prompts_are_batched_apart() -> None:
    rng = np.random.default_rng(0)
    systems = [rng.integers(0, 1000, 600).tolist() for _ in range(2)]
    prompts = [systems[i % 2] + rng.integers(0, 1000, 20).tolist() for i in range(40)]
    lengths = [len(prompt) + 30 for prompt in prompts]
    batches = batches_of(prompts, lengths, 2048)
    assert all(len({i % 2 for i in batch}) == 1 for batch in batches)
    assert all(shared_prefix([np.array(prompts[i]) for i in batch]) == 600 for batch in batches)
    assert cost(batches, prompts, lengths) < sum(lengths) / 4


def test_a_few_tokens_in_common_do_not_break_up_batches_of_equal_length() -> None:
    rng = np.random.default_rng(1)
    prompts = [[7] * 3 + [i % 5] * 4 + rng.integers(0, 1000, 20).tolist() for i in range(64)]
    lengths = [int(length) for length in rng.integers(40, 200, 64)]
    assert len(batches_of(prompts, lengths, 1024)) <= len(batches_of([[0]] * 64, lengths, 1024))


def test_a_conversation_of_many_turns_is_batched_without_recursion() -> None:
    """Each prompt begins with the whole one before: a tree as deep as there are records."""
    prompts = [list(range(1, 3 + at)) for at in range(3000)]
    batches = batches_of(prompts, [len(prompt) + 5 for prompt in prompts], 4096)
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(3000))


def test_the_last_token_of_a_prompt_is_computed_for_every_record() -> None:
    same = np.arange(500)
    assert shared_prefix([same, same, same]) == 499
    assert shared_prefix([same]) == 0
