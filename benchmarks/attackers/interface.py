"""The attacker protocol: an encoder on the inference server, and a decoder outside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.attackers.arithmetic import Received
from benchmarks.attackers.payload import Payload
from benchmarks.attackers.serving import Choose, ServedModel, Step, honestly
from weightwarden.logger.record import Record
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.policy.calibrated import Policy

BATCH = 48
"""Number of answers that a server works on at once."""
Channel = Literal["tokens", "ends", "seeds", "nothing"]
"""Carrier of the bits; "nothing" for a server that cheats its users, and steals nothing."""
Knowledge = Literal["answers", "answers and weights", "answers, and weights in other arithmetic"]


@dataclass(frozen=True)
class Site:
    """Resources of an encoder: the server, the published policy, and the key that it shares with its decoder.

    Attributes:
        replica: the attacker's own copy of the weights in float32, which predicts the verifier's replay.
    """

    server: ServedModel
    replica: ServedModel
    policy: Policy
    key: bytes
    payload: Payload


@dataclass(frozen=True)
class Outside:
    """Resources of a decoder: the key, a copy of the sampler, and the weights if the attacker has them outside.

    Attributes:
        server: the weights in the form of the encoder's server (`Site`).
        replica: the weights in the form of the encoder's replica (`Site`).
    """

    key: bytes
    policy: Policy
    server: ServedModel
    replica: ServedModel


class Attacker(ABC):
    """One method of cheating.

    Attributes:
        channel: carrier of the bits.
        knows: resources of the decoder.
    """

    channel: Channel = "tokens"
    knows: Knowledge = "answers"

    @property
    def seeds_are_free(self) -> bool:
        """True if the server issues the seeds, and the log holds the server's values."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the method, in a few words."""

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        """The trusted logger's records of these requests. By default the tokens are chosen one by one (`choose`)."""
        return in_batches(site.server, requests, lambda answers: self.choose(site, answers))

    def offered(self, payload: Payload, answers: int) -> float:
        """Payload bits that the attacker tries to send in the answers; by default as many of each as possible."""
        return 0.0 if self.channel == "nothing" else float(payload.length * answers)

    def choose(self, site: Site, answers: range) -> Choose:
        """Function that chooses the tokens of a batch of answers; honest by default."""
        return honestly

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        """The decoded content of each answer; nothing by default."""
        return [Received(0, 0)] * len(records)


def in_batches(
    server: ServedModel, requests: Sequence[Record], chooser: Callable[[range], Choose], *, stops: bool = True
) -> list[Record]:
    """Serve requests batch by batch. Return the trusted logger's records."""
    records = []
    for start in range(0, len(requests), BATCH):
        answers = range(start, min(start + BATCH, len(requests)))
        batch = [requests[answer] for answer in answers]
        outputs = server.serve(batch, chooser(answers), stops=stops)
        records += [
            answered(request, output, server.identity.eos_ids) for request, output in zip(batch, outputs, strict=True)
        ]
    return records


def answered(request: Record, output: list[int], eos_ids: Sequence[int]) -> Record:
    """The record of an answer that ends where its tokens say: at an end-of-sequence token, or at the limit."""
    reason = "stop" if output[-1] in eos_ids else "length"
    return request.model_copy(update={"output_token_ids": output, "finish_reason": reason, "stop_reason": None})


def follow(server: ServedModel, records: Sequence[Record], watch: Callable[[Step, range, IntArray], None]) -> None:
    """Have a server repeat given answers, in the same batches, to observe its alternatives.

    Args:
        watch: called with each position, the answers of the batch, and the tokens there.
    """
    for start in range(0, len(records), BATCH):
        answers = range(start, min(start + BATCH, len(records)))
        outputs = [records[answer].output_token_ids for answer in answers]

        def choose(step: Step, outputs: list[list[int]] = outputs, answers: range = answers) -> IntArray:
            going = np.array([row for row in step.active_b if step.position < len(outputs[row])], np.int64)
            said = np.array([o[step.position] if step.position < len(o) else o[-1] for o in outputs], np.int64)
            watch(Step(step.position, going, step.ids_bk, step.probability_bk, step.score_bk), answers, said)
            return said

        server.serve([records[answer] for answer in answers], choose)
