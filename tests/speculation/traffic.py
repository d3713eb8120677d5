"""Batches of requests with drafts of every kind, on a small vocabulary."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.speculation.steps import Logits, Step, plain_draws, processed

V = 1300
"""More than one block of the kernels, and no multiple of it."""
LIMIT = 5

SETTINGS = (
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.95},
    {"temperature": 0.0},
    {"temperature": 1.3, "min_p": 0.05},
)

Drafter = Callable[[np.random.Generator, Step], Sequence[int]]


def likeliest(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [int(row.argmax()) for row in step.processed_nv[:-1]]


def of_the_five_likeliest(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [int(rng.choice(np.argsort(-row)[:5])) for row in step.processed_nv[:-1]]


def always_the_draw(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [int(token) for token in plain_draws(step)[:-1]]


def never_the_draw(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [int((token + 1) % V) for token in plain_draws(step)[:-1]]


def none_at_all(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [-1] * (len(step.processed_nv) - 1)


def draws_with_a_gap(rng: np.random.Generator, step: Step) -> Sequence[int]:
    drafts = [int(token) for token in plain_draws(step)[:-1]]
    if drafts:
        drafts[int(rng.integers(len(drafts)))] = -1
    return drafts


def any_id(rng: np.random.Generator, step: Step) -> Sequence[int]:
    return [int(token) for token in rng.integers(0, V, len(step.processed_nv) - 1)]


DRAFTERS: tuple[Drafter, ...] = (
    likeliest,
    of_the_five_likeliest,
    always_the_draw,
    never_the_draw,
    none_at_all,
    draws_with_a_gap,
    any_id,
)


def steps_of(rng: np.random.Generator, drafter: Drafter, count: int, limit: int = LIMIT) -> list[Step]:
    """Steps with 0 to `limit` drafts each, of all settings in turn."""
    return [
        drafted(rng, drafter, rng.normal(0, 3, (int(rng.integers(0, limit + 1)) + 1, V)).astype(np.float32), **setting)
        for setting in (SETTINGS[i % len(SETTINGS)] for i in range(count))
    ]


def drafted(rng: np.random.Generator, drafter: Drafter, logits_nv: Logits, **sampling: float) -> Step:
    """A step at these raw logits, at a random position under a random seed."""
    temperature = sampling.pop("temperature")
    top_k = int(sampling.pop("top_k", V))
    blank = Step(
        processed_nv=processed(logits_nv, temperature, top_k=top_k, **sampling),
        drafts=[-1] * (len(logits_nv) - 1),
        position=int(rng.integers(0, 100_000)),
        temperature=temperature,
        seed=int(rng.integers(-(2**63), 2**63)),
    )
    return Step(**(vars(blank) | {"drafts": drafter(rng, blank)}))


def leading_hits(drafts: Sequence[int], draws: Sequence[int]) -> int:
    """The number of leading drafts that are the draws of their positions, counted one by one."""

    def hits() -> Iterator[int]:
        for draft, draw in zip(drafts, draws, strict=False):
            if draft != draw:
                return
            yield 1

    return sum(hits())
