"""Coded choices among likely tokens: shared by attackers whose decoder has the weights."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from benchmarks.attackers.arithmetic import ArithmeticReceiver, ArithmeticSender, Received
from benchmarks.attackers.interface import Attacker, Outside, Site, follow, in_batches
from benchmarks.attackers.serving import Choose, ServedModel, Step
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import Policy


class CodedTokens(Attacker):
    """Arithmetic coding of the payload by `offer`, one stream through all answers of a batch.

    Attributes:
        on_replica: whether the tokens are chosen by the verifier's expected replay (`Site.replica`) instead of the
            server's own computation. The decoder follows the same.
    """

    knows = "answers and weights"
    on_replica = False

    @abstractmethod
    def offer(self, step: Step, policy: Policy) -> FloatArray:
        """Probabilities with which candidates [b, k] are chosen."""

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        return in_batches(self._model(site), requests, lambda answers: self.choose(site, answers))

    def choose(self, site: Site, answers: range) -> Choose:
        sender = ArithmeticSender(*site.payload.stream(answers))

        def said(step: Step) -> IntArray:
            tokens = step.honest_b
            offered_bk = self.offer(step, site.policy)
            for row in step.active_b:
                tokens[row] = step.ids_bk[row, sender.choose(offered_bk[row])]
            return tokens

        return said

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        """The stream of each batch, as the content of its first answer."""
        receivers: dict[int, ArithmeticReceiver] = {}

        def watch(step: Step, answers: range, said_b: IntArray) -> None:
            receiver = receivers.setdefault(answers.start, ArithmeticReceiver())
            offered_bk = self.offer(step, outside.policy)
            for row in step.active_b:
                at = np.flatnonzero(step.ids_bk[row] == said_b[row])
                if len(at):
                    receiver.take(offered_bk[row], int(at[0]))

        follow(self._model(outside), records, watch)
        return [
            receivers[answer].received() if answer in receivers else Received(0, 0) for answer in range(len(records))
        ]

    def _model(self, of: Site | Outside) -> ServedModel:
        return of.replica if self.on_replica else of.server
