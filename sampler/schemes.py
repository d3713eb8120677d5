"""The sampling schemes: their names, and their requirements for seeds. No arrays, so that the logger can import it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weightwarden.sampler.errors import UnknownScheme, UnreplayableRequest

GPU_THREADS = {
    "t4": 40 * 1024,
    "l4": 58 * 1536,
    "rtx4090": 128 * 1536,
    "a100": 108 * 2048,
    "h100": 132 * 2048,
    "b200": 148 * 2048,
}
"""Threads that a GPU holds at once: multiprocessors times threads on each (h100: the SXM card, and the H200)."""

FILTERS = ("top_k", "top_p", "min_p")
"""Sampling fields without effect at temperature 0."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A method by which an engine turns (logits, seed, position) into a token.

    Attributes:
        name: the value of a record's `engine.sampler`.
        seed_min: smallest seed of a single choice.
        seed_max: largest seed of a single choice.
        child_seed_offset: choice i of a request is drawn with seed + i * child_seed_offset.
        filters_before_temperature: True: top-k, top-p and min-p see the logits before division by the temperature
            (llama.cpp's default chain). False: after it (vLLM).
        penalties: True if repetition, presence and frequency penalties can be replayed.
        minus_one_is_no_seed: True if the engine treats seed -1 as no seed (vLLM).
        min_temperature: smallest positive temperature; the engine raises smaller ones to it (SGLang takes them for 0).
        adjustments: engine whose order of bias, masks and penalties applies (`sampler.logits`).
        top_p_of_everything: True: top-p counts the mass of the whole vocabulary. False: of the tokens that top-k keeps.
        needs_cut: True if top-k or top-p must be on.
        refused: sampling fields that must have their neutral value, with the reason.
        speculates: True for the scheme of an engine that accepts drafted tokens by chance. It is *weak*: the drafts are
            unknown, so that several tokens of a position may be honest, and all of them are admissible.
    """

    name: str
    seed_min: int = -(2**63)
    seed_max: int = 2**63 - 1
    child_seed_offset: int = 1
    filters_before_temperature: bool = False
    penalties: bool = True
    minus_one_is_no_seed: bool = True
    min_temperature: float = 0.01
    adjustments: Literal["vllm", "sglang"] = "vllm"
    top_p_of_everything: bool = False
    needs_cut: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    speculates: bool = False

    def effective_temperature(self, temperature: float) -> float:
        """Temperature by which the engine divides. It has no meaning for greedy sampling."""
        return max(temperature, self.min_temperature)

    def choice_seed(self, seed: int, choice_index: int) -> int:
        """Seed with which choice `choice_index` was drawn (docs/sampling.md, sections 5, 6.6).

        Raises:
            UnreplayableRequest: the seed is outside the engine's range, or -1 where that means "no seed".
        """
        child = seed + choice_index * self.child_seed_offset
        if not self.seed_min <= child <= self.seed_max:
            raise UnreplayableRequest(
                f"seed {seed} with choice index {choice_index} is outside the range of scheme {self.name} "
                f"([{self.seed_min}, {self.seed_max}])"
            )
        if child == -1 and self.minus_one_is_no_seed:
            raise UnreplayableRequest(f"seed {seed} with choice index {choice_index} is -1, which means no seed")
        return child


_NOT_IN_SGLANG = {
    "min_p": "SGLang refuses min_p with a seed",
    "bad_words": "SGLang has no such parameter",
    "allowed_token_ids": "SGLang has no such parameter",
}
_SORTED = "SGLang draws filtered requests from sorted probabilities: scheme sglang-ranked"


def _sglang(name: str, *, ranked: bool, refused: Mapping[str, str]) -> Scheme:
    return Scheme(
        name=name,
        child_seed_offset=0,
        minus_one_is_no_seed=False,
        min_temperature=1e-6,
        adjustments="sglang",
        top_p_of_everything=ranked,
        needs_cut=ranked,
        refused=refused,
    )


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(name="vllm-cpu"),
        Scheme(name="vllm-v2"),
        Scheme(name="vllm-v2-fp64"),
        Scheme(name="vllm-v2-one-hot", speculates=True),
        Scheme(name="vllm-v1"),
        *(Scheme(name=f"vllm-v1-{gpu}") for gpu in GPU_THREADS),
        Scheme(name="vllm-v1-fp64"),
        Scheme(name="vllm-v1-cpu"),
        _sglang("sglang", ranked=False, refused={"top_k": _SORTED, "top_p": _SORTED, **_NOT_IN_SGLANG}),
        _sglang("sglang-ranked", ranked=True, refused=_NOT_IN_SGLANG),
        # 0xFFFFFFFF asks llama.cpp for a random seed; it divides by any positive temperature.
        Scheme(
            name="inverse-cdf",
            seed_min=0,
            seed_max=2**32 - 2,
            min_temperature=0.0,
            filters_before_temperature=True,
            penalties=False,
        ),
        Scheme(name="greedy"),
    )
}


def scheme(name: str) -> Scheme:
    """The scheme with that name.

    Raises:
        UnknownScheme: there is none; the message lists all schemes.
    """
    try:
        return SCHEMES[name]
    except KeyError:
        raise UnknownScheme(f"unknown sampling scheme {name!r}; known: {', '.join(SCHEMES)}") from None
