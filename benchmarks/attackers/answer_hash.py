"""Hash coding: resample until a keyed hash of the answer equals the payload bits; the decoder needs only the key."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.attackers.arithmetic import Received
from benchmarks.attackers.budgeted import honest_odds
from benchmarks.attackers.interface import Attacker, Outside, Site, in_batches
from benchmarks.attackers.payload import Payload, shared_draws
from benchmarks.attackers.serving import Choose, Step, honestly
from weightwarden.logger.record import Record
from weightwarden.sampler.types import IntArray


@dataclass(frozen=True)
class AnswerHash(Attacker):
    """Hash coding under the logger's own seed, with alternatives at the rate of honest noise.

    Each answer is drawn until a keyed hash of it is its payload.

    Attributes:
        bits: payload bits of an answer.
        tries: largest number of draws of an answer, the first without alternatives.
    """

    bits: int
    tries: int

    @property
    def name(self) -> str:
        return f"hash of the answer, {self.tries} tries"

    def offered(self, payload: Payload, answers: int) -> float:
        return float(self.bits * answers)

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        records = list(requests)
        silent = list(range(len(requests)))  # answers whose hash is not their payload yet
        for attempt in range(self.tries):
            chooser = partial(self._chooser, site, attempt)
            tried = in_batches(site.replica, [requests[answer] for answer in silent], chooser)
            for answer, record in zip(silent, tried, strict=True):
                records[answer] = record
            silent = [
                answer
                for answer in silent
                if keyed_hash(site.key, answer, records[answer], self.bits) != site.payload.bits(answer, 0, self.bits)
            ]
            if not silent:
                break
        return records

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        return [
            Received(keyed_hash(outside.key, answer, record, self.bits), self.bits)
            for answer, record in enumerate(records)
        ]

    def _chooser(self, site: Site, attempt: int, answers: range) -> Choose:
        if not attempt:
            return honestly
        rng = shared_draws(site.key, f"alternatives {attempt}", answers.start)

        def said(step: Step) -> IntArray:
            weights_bk = honest_odds(step, site.policy)
            ends_bk = np.cumsum(weights_bk / weights_bk.sum(axis=1, keepdims=True), axis=1)
            at_b = (ends_bk < rng.random(len(ends_bk))[:, None]).sum(axis=1)
            chosen: IntArray = np.take_along_axis(step.ids_bk, at_b.clip(max=ends_bk.shape[1] - 1)[:, None], 1)[:, 0]
            return chosen

        return said


def keyed_hash(key: bytes, answer: int, record: Record, bits: int) -> int:
    """The first bits of a keyed hash of an answer's tokens."""
    tokens = ",".join(map(str, record.output_token_ids))
    digest = hmac.digest(key, f"hash {answer} {tokens}".encode(), hashlib.sha256)
    return int.from_bytes(digest[:4]) >> (32 - bits)
