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
"""Answers that a server works on at once."""
Channel = Literal["tokens", "ends", "seeds", "nothing"]
"""Where the bits are; "nothing": the server cheats its users, and steals nothing."""
Knowledge = Literal["answers", "answers and weights", "answers, and weights in other arithmetic"]


@dataclass(frozen=True)
class Site:
    """What an encoder has: the server, the policy that is published, the key that it shares with its decoder.

    Attributes:
        replica: the same weights in float32, on the attacker's own: what the verifier's replay will say.
    """

    server: ServedModel
    replica: ServedModel
    policy: Policy
    key: bytes
    payload: Payload


@dataclass(frozen=True)
class Outside:
    """What a decoder has: the key, a copy of the sampler, and the weights where its attacker says so.

    Attributes:
        server, replica: the weights, as the encoder has them (`Site`).
    """

    key: bytes
    policy: Policy
    server: ServedModel
    replica: ServedModel


class Attacker(ABC):
    """One way to cheat.

    Attributes:
        channel: where the bits are. knows: what the decoder has.
    """

    channel: Channel = "tokens"
    knows: Knowledge = "answers"

    @property
    def seeds_are_free(self) -> bool:
        """Whether the server issues the seeds, and the log holds what it says."""
        return False

    @property
    @abstractmethod
    def name(self) -> str:
        """What it does, in a few words."""

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        """What the trusted logger writes of these requests. By default the tokens are chosen one by one (`choose`)."""
        return in_batches(site.server, requests, lambda answers: self.choose(site, answers))

    def offered(self, payload: Payload, answers: int) -> float:
        """Payload bits that it tries to send in so many answers: of each as much as goes in, unless it says less."""
        return 0.0 if self.channel == "nothing" else float(payload.length * answers)

    def choose(self, site: Site, answers: range) -> Choose:
        """How the tokens of a batch of answers are chosen; honestly by default."""
        return honestly

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        """What each answer says; nothing by default."""
        return [Received(0, 0)] * len(records)


def in_batches(
    server: ServedModel, requests: Sequence[Record], chooser: Callable[[range], Choose], *, stops: bool = True
) -> list[Record]:
    """Serve requests batch by batch; what the trusted logger writes."""
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
    """The record of an answer that ends as its tokens say: by an end-of-sequence token, or at the limit."""
    reason = "stop" if output[-1] in eos_ids else "length"
    return request.model_copy(update={"output_token_ids": output, "finish_reason": reason, "stop_reason": None})


def follow(server: ServedModel, records: Sequence[Record], watch: Callable[[Step, range, IntArray], None]) -> None:
    """Have a server say what was said, in the same batches, and be told what it could have said instead.

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
