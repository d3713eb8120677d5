"""What attackers share who code the payload in a choice among likely tokens, and read it with the weights."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from benchmarks.attackers.arithmetic import ArithmeticReceiver, ArithmeticSender, Received
from benchmarks.attackers.interface import Attacker, Outside, Site, follow
from benchmarks.attackers.serving import Choose, Step
from logger.record import Record
from sampler.types import FloatArray, IntArray
from verifier.policy import Policy


class CodedTokens(Attacker):
    """Arithmetic coding of the payload by `offer`; the decoder replays the answers on hardware like the server's."""

    knows = "answers and weights"

    @abstractmethod
    def offer(self, step: Step, policy: Policy) -> FloatArray:
        """With which probabilities candidates [b, k] are to be said."""

    def choose(self, site: Site, answers: range) -> Choose:
        senders = [ArithmeticSender(site.payload.message(answer), site.payload.length) for answer in answers]

        def said(step: Step) -> IntArray:
            tokens = step.honest_b
            offered_bk = self.offer(step, site.policy)
            for row in step.active_b:
                tokens[row] = step.ids_bk[row, senders[row].choose(offered_bk[row])]
            return tokens

        return said

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        receivers = [ArithmeticReceiver() for _ in records]

        def watch(step: Step, answers: range, said_b: IntArray) -> None:
            offered_bk = self.offer(step, outside.policy)
            for row in step.active_b:
                at = np.flatnonzero(step.ids_bk[row] == said_b[row])
                if len(at):
                    receivers[answers[int(row)]].take(offered_bk[row], int(at[0]))

        follow(outside.server, records, watch)
        return [receiver.received() for receiver in receivers]
