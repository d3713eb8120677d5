"""Seed grinding: of several honest answers under several seeds, the one that happens to carry the payload."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.attackers.answer_hash import keyed_hash
from benchmarks.attackers.arithmetic import Received
from benchmarks.attackers.interface import Attacker, Outside, Site, in_batches
from benchmarks.attackers.payload import Payload
from benchmarks.attackers.serving import honestly
from weightwarden.logger.record import Record


@dataclass(frozen=True)
class SeedGrinding(Attacker):
    """Coding by up to 4 * 2^bits seeds for each answer, until a keyed hash of the answer is the payload.

    Attributes:
        own_seeds: whether the record holds the seed that the server chose, as it does if the server issues its own
            seeds. Otherwise it holds the trusted logger's seed, and the server drew with another.
    """

    bits: int
    own_seeds: bool
    channel = "seeds"

    @property
    def name(self) -> str:
        return f"seed grinding, {'the server issues' if self.own_seeds else 'the logger issues'} the seeds"

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        records = list(requests)
        silent = list(range(len(requests)))  # answers whose hash is not their payload yet
        for attempt in range(4 << self.bits):
            tried = [_with_seed(requests[answer], answer, attempt) for answer in silent]
            for answer, record in zip(silent, in_batches(site.server, tried, lambda _: honestly), strict=True):
                records[answer] = record
            silent = [
                answer
                for answer in silent
                if keyed_hash(site.key, answer, records[answer], self.bits) != site.payload.bits(answer, 0, self.bits)
            ]
        if self.own_seeds:
            return records
        return [
            record.model_copy(update={"seed": request.seed}) for record, request in zip(records, requests, strict=True)
        ]

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        return [
            Received(keyed_hash(outside.key, answer, record, self.bits), self.bits)
            for answer, record in enumerate(records)
        ]

    @property
    def seeds_are_free(self) -> bool:
        return self.own_seeds

    def offered(self, payload: Payload, answers: int) -> float:
        return float(self.bits * answers)


def _with_seed(request: Record, answer: int, attempt: int) -> Record:
    seed = int.from_bytes(hashlib.sha256(b"seed %d %d" % (answer, attempt)).digest()[:4])
    return request.model_copy(update={"seed": seed})
