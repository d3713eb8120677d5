"""Error-corrected admissible-set coding: the decoder's own replay is noisy, and still loses no message."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.admissible_set import GUARD
from benchmarks.attackers.arithmetic import Received
from benchmarks.attackers.interface import BATCH, Attacker, Outside, Site, follow, in_batches
from benchmarks.attackers.payload import Payload, shared_draws
from benchmarks.attackers.serving import Choose, Step
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray


@dataclass(frozen=True)
class ErrorCorrected(Attacker):
    """A repetition code over keyed hash bits of tokens, through all answers of a batch.

    Every position stands for one bit of the payload, which encoder and decoder know; every token has a keyed hash bit.
    Where the admissible set has tokens of both values, the encoder takes one with the right value. The decoder cannot
    know these positions for sure: where its own replay offers both values, the claimed token is a vote.

    Attributes:
        spread: payload bits of a batch; fewer are repeated more often.
    """

    spread: int
    knows = "answers, and weights in other arithmetic"

    @property
    def name(self) -> str:
        return "error-corrected admissible-set coding"

    def offered(self, payload: Payload, answers: int) -> float:
        return float(self.spread * -(-answers // BATCH))

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        return in_batches(site.replica, requests, lambda answers: self.choose(site, answers))

    def choose(self, site: Site, answers: range) -> Choose:
        margin = GUARD * site.policy.thresholds.margin_logits
        places = {answer: _places(site.key, answer, self.spread) for answer in answers}

        def said(step: Step) -> IntArray:
            tokens = step.honest_b
            for row in step.active_b:
                answer = answers[int(row)]
                hash_k = _hash_bits(site.key, answer, step.position, step.ids_bk[row])
                right_k = hash_k == site.payload.bits(answers.start, int(places[answer][step.position]), 1)
                margin_k = np.where(right_k, step.margin_bk[row], np.inf)
                if margin_k.min() <= margin:
                    tokens[row] = step.ids_bk[row, int(margin_k.argmin())]
            return tokens

        return said

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        margin = GUARD * outside.policy.thresholds.margin_logits
        votes: dict[int, FloatArray] = {}
        places = [_places(outside.key, answer, self.spread) for answer in range(len(records))]

        def watch(step: Step, answers: range, said_b: IntArray) -> None:
            vote_s = votes.setdefault(answers.start, np.zeros(self.spread))
            for row in step.active_b:
                answer = answers[int(row)]
                hash_k = _hash_bits(outside.key, answer, step.position, step.ids_bk[row])
                best = [step.margin_bk[row][hash_k == value].min(initial=np.inf) for value in (0, 1)]
                if max(best) <= margin:
                    own = _hash_bits(outside.key, answer, step.position, said_b[row : row + 1])[0]
                    vote_s[places[answer][step.position]] += 2 * int(own) - 1

        follow(outside.server, records, watch)
        return [_received(votes[answer]) if answer in votes else Received(0, 0) for answer in range(len(records))]


MAX_TOKENS = 4096


def _received(vote_s: FloatArray) -> Received:
    """The majority of the votes for each bit; a guess without votes."""
    return Received(int("".join("1" if vote > 0 else "0" for vote in vote_s), 2), len(vote_s))


def _places(key: bytes, answer: int, spread: int) -> IntArray:
    """Payload bit of each position of an answer."""
    return shared_draws(key, "places", answer).integers(spread, size=MAX_TOKENS)


def _hash_bits(key: bytes, answer: int, position: int, ids_k: IntArray) -> IntArray:
    """A keyed bit of each token at a position."""
    start = int(shared_draws(key, f"hash {position}", answer).integers(1 << 63))
    mixed = (ids_k.astype(np.uint64) + np.uint64(start)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(63)).astype(np.int64)
