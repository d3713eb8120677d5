"""The names of the sampling schemes, and what each asks of a seed (light: no arrays, so that the logger can use it)."""

from dataclasses import dataclass

from sampler.errors import UnknownScheme, UnreplayableRequest


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One way in which an engine turns (logits, seed, position) into a token.

    Attributes:
        name: the value of a record's `engine.sampler`.
        seed_min, seed_max: range of the seed that a single choice may be drawn with (inclusive).
        child_seed_offset: choice i of a request is drawn with seed + i * child_seed_offset.
        filters_before_temperature: top-k, top-p and min-p see the logits before division by the temperature
            (llama.cpp's default chain); otherwise after it (vLLM).
        penalties: whether repetition, presence and frequency penalties are replayable.
    """

    name: str
    seed_min: int = -(2**63)
    seed_max: int = 2**63 - 1
    child_seed_offset: int = 1
    filters_before_temperature: bool = False
    penalties: bool = True

    def choice_seed(self, seed: int, choice_index: int) -> int:
        """Seed that choice `choice_index` was drawn with (sampling-spec 6.6).

        Raises:
            UnreplayableRequest: outside the engine's range, or -1, which vLLM reads as "no seed".
        """
        child = seed + choice_index * self.child_seed_offset
        if not self.seed_min <= child <= self.seed_max:
            raise UnreplayableRequest(
                f"seed {seed} with choice index {choice_index} is outside the range of scheme {self.name} "
                f"([{self.seed_min}, {self.seed_max}])"
            )
        if child == -1:
            raise UnreplayableRequest(f"seed {seed} with choice index {choice_index} is -1, which means no seed")
        return child


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(name="vllm-cpu"),
        Scheme(name="vllm-v2"),
        Scheme(name="vllm-v1"),
        # 0xFFFFFFFF asks llama.cpp for a random seed.
        Scheme(
            name="inverse-cdf",
            seed_min=0,
            seed_max=2**32 - 2,
            filters_before_temperature=True,
            penalties=False,
        ),
        Scheme(name="greedy"),
    )
}


def scheme(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        UnknownScheme: no such scheme; the message lists those that exist.
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise UnknownScheme(f"unknown sampling scheme {name!r}; known: {', '.join(SCHEMES)}") from None
