"""Error-corrected admissible-set coding: the decoder's own replay is noisy, and loses no message for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.admissible_set import GUARD
from benchmarks.attackers.arithmetic import Received
from benchmarks.attackers.interface import Attacker, Outside, Site, follow
from benchmarks.attackers.payload import shared_draws
from benchmarks.attackers.serving import Choose, Step
from logger.record import Record
from sampler.types import IntArray


@dataclass(frozen=True)
class ErrorCorrected(Attacker):
    """A repetition code over keyed hash bits of tokens.

    Every position stands for one bit of the payload, which encoder and decoder know; every token has a keyed hash bit.
    Where the admissible set has tokens of both values, the encoder says the right one. The decoder cannot know for
    sure which positions those were: it weighs each position where its own replay offers both values.

    Attributes:
        spread: payload bits of an answer; fewer are repeated more often.
    """

    spread: int
    knows = "answers, and weights on other hardware"

    @property
    def name(self) -> str:
        return "error-corrected admissible-set coding"

    def choose(self, site: Site, answers: range) -> Choose:
        margin = GUARD * site.policy.thresholds.margin_logits
        places = [_places(site.key, answer, self.spread) for answer in answers]

        def said(step: Step) -> IntArray:
            tokens = step.honest_b
            for row in step.active_b:
                answer, place = answers[int(row)], int(places[row][step.position])
                hash_k = _hash_bits(site.key, answer, step.position, step.ids_bk[row])
                right_k = hash_k == site.payload.bits(answer, place, 1)
                margin_k = np.where(right_k, step.margin_bk[row], np.inf)
                if margin_k.min() <= margin:
                    tokens[row] = step.ids_bk[row, int(margin_k.argmin())]
            return tokens

        return said

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        margin = GUARD * outside.policy.thresholds.margin_logits
        votes = np.zeros((len(records), self.spread))
        places = [_places(outside.key, answer, self.spread) for answer in range(len(records))]

        def watch(step: Step, answers: range, said_b: IntArray) -> None:
            for row in step.active_b:
                answer = answers[int(row)]
                hash_k = _hash_bits(outside.key, answer, step.position, step.ids_bk[row])
                best = [step.margin_bk[row][hash_k == value].min(initial=np.inf) for value in (0, 1)]
                if max(best) <= margin:
                    own = _hash_bits(outside.key, answer, step.position, said_b[row : row + 1])[0]
                    votes[answer, places[answer][step.position]] += 2 * int(own) - 1

        follow(outside.other, records, watch)
        return [self._received(vote_s) for vote_s in votes]

    def _received(self, vote_s: np.typing.NDArray[np.float64]) -> Received:
        """The bits up to the first that nothing was heard of."""
        silent = np.flatnonzero(vote_s == 0)
        heard = int(silent[0]) if len(silent) else len(vote_s)
        return Received(int("0" + "".join("1" if vote > 0 else "0" for vote in vote_s[:heard]), 2), heard)


MOST_TOKENS = 4096


def _places(key: bytes, answer: int, spread: int) -> IntArray:
    """Which payload bit each position of an answer stands for: in turn, in a keyed order."""
    rng = shared_draws(key, "places", answer)
    rounds = [rng.permutation(spread) for _ in range(-(-MOST_TOKENS // spread))]
    return np.concatenate(rounds)


def _hash_bits(key: bytes, answer: int, position: int, ids_k: IntArray) -> IntArray:
    """A keyed bit of each token at a position."""
    start = int(shared_draws(key, f"hash {position}", answer).integers(1 << 63))
    mixed = (ids_k.astype(np.uint64) + np.uint64(start)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(63)).astype(np.int64)
