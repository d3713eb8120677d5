"""Deviating servers: the tokens that each claims at the positions of recorded answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.deviations.contexts import Context, ServerHead
from benchmarks.deviations.divergence import FAR, ClassifiedTokens
from weightwarden.logger.record import Record
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.support import Filters, support_of_head
from weightwarden.sampler.types import FloatArray, IntArray

SCHEME = "vllm-cpu"
ENGINE = {"name": "simulated", "version": "1", "sampler": SCHEME}
OTHER_SEED = 1 << 30
"""Difference of a wrong seed from the one that the log names."""


def record_of(context: Context, seed: int, tokens_n: IntArray) -> Record:
    """The record of an answer with these tokens, of the length of a recorded one, that nothing ends early."""
    answer = context.answer
    sampling = answer.sampling.model_copy(update={"ignore_eos": True, "max_tokens": len(tokens_n)})
    return Record.model_validate(
        answer.model_dump()
        | {"engine": ENGINE, "seed": seed, "sampling": sampling.model_dump(), "finish_reason": "length"}
        | {"output_token_ids": tokens_n.tolist(), "stop_reason": None}
    )


@dataclass(frozen=True)
class Answering:
    """A request at the positions of a recorded answer, from the view of its server.

    Attributes:
        context: the recorded answer, with the computations of models at its positions.
        seed: seed of the request.
        vocabulary: V, tokens.
        admissible: admissible set of each position under the verifier's policy, token ids: the server knows the
            verifier's replay.
    """

    context: Context
    seed: int
    vocabulary: int
    admissible: Sequence[IntArray] = ()

    def drawn(
        self, head: ServerHead | None = None, *, seed: int | None = None, temperature_factor: float = 1.0
    ) -> IntArray:
        """The tokens [n] that a server draws by a model's head; by default by the requested model, as requested."""
        head = self.context.server if head is None else head
        sampling, count = self.context.answer.sampling, len(head.ids_nk)
        noise = gumbel_noise(SCHEME, self.vocabulary)
        temperature = sampling.temperature * temperature_factor
        filters = Filters(
            temperature_n=np.full(count, temperature),
            top_k_n=np.full(count, sampling.top_k),
            top_p_n=np.full(count, sampling.top_p),
            min_p_n=np.full(count, sampling.min_p),
        )
        inside_nk = support_of_head(head.logit_nk, filters, None, np.zeros(1)).nominal_nk
        keys_n = noise.keys(self.seed if seed is None else seed, len(self.context.answer.prompt_token_ids), count)
        score_nk = np.where(inside_nk, head.logit_nk + temperature * noise.at(keys_n, head.ids_nk), -np.inf)
        tokens: IntArray = np.take_along_axis(head.ids_nk, score_nk.argmax(axis=1)[:, None], 1)[:, 0]
        return tokens


class Deviation(ABC):
    """One way to deviate.

    Attributes:
        kind: its kind, as `verify plan --deviation` takes it.
    """

    kind: str

    @property
    def size(self) -> float | None:
        """Its size, in the unit of its kind; None for a kind without one."""
        return None

    @property
    def name(self) -> str:
        """Kind and size."""
        return self.kind if self.size is None else f"{self.kind}:{self.size:g}"

    @abstractmethod
    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        """The tokens [n] that the server claims to have drawn."""

    def probability_n(self, tokens: ClassifiedTokens, honest_n: FloatArray) -> FloatArray | None:
        """Probability of each claimed token (`ClassLaw.probability_n`), from an honest server's; None if unknown."""
        return None


class Honest(Deviation):
    """No deviation."""

    kind = name = "honest"

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        return at.drawn()


@dataclass(frozen=True)
class Admissible(Deviation):
    """Uniform choice among the admissible tokens at a share of the positions."""

    share: float
    kind = "admissible"

    @property
    def size(self) -> float:
        return self.share

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        tokens = at.drawn()
        for position in np.flatnonzero(rng.random(len(tokens)) < self.share):
            tokens[position] = rng.choice(at.admissible[int(position)])
        return tokens

    def probability_n(self, tokens: ClassifiedTokens, honest_n: FloatArray) -> FloatArray | None:
        mixed_n: FloatArray = self.share * tokens.inside_n / tokens.admissible_n + (1 - self.share) * honest_n
        return mixed_n


@dataclass(frozen=True)
class Substitution(Deviation):
    """Uniformly random tokens of the vocabulary at a share of the positions."""

    rate: float
    kind = "substitution"

    @property
    def size(self) -> float:
        return self.rate

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        tokens = at.drawn()
        other = rng.random(len(tokens)) < self.rate
        return np.where(other, rng.integers(at.vocabulary, size=len(tokens)), tokens)

    def probability_n(self, tokens: ClassifiedTokens, honest_n: FloatArray) -> FloatArray | None:
        mixed_n: FloatArray = self.rate * (tokens.outside_n == FAR) + (1 - self.rate) * honest_n
        return mixed_n


@dataclass(frozen=True)
class Temperature(Deviation):
    """Sampling at another temperature than the requested one."""

    factor: float
    kind = "temperature"

    @property
    def size(self) -> float:
        return self.factor

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        return at.drawn(temperature_factor=self.factor)


class Quantised(Deviation):
    """The same model with int8 weights."""

    kind = "int8"

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        return at.drawn(at.context.quantised)


class WrongSeed(Deviation):
    """Sampling under another seed than the one in the log."""

    kind = "wrong-seed"

    def claims(self, at: Answering, rng: np.random.Generator) -> IntArray:
        return at.drawn(seed=at.seed ^ OTHER_SEED)


DEVIATIONS: tuple[Deviation, ...] = (
    *(Admissible(share) for share in (1.0, 0.5, 0.1)),
    *(Substitution(rate) for rate in (0.1, 0.01, 0.003, 0.001)),
    *(Temperature(factor) for factor in (1.05, 1.2)),
    Quantised(),
    WrongSeed(),
)
"""All deviations, in the order of the tables."""
