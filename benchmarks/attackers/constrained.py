"""Coding in the parts of an answer that a grammar leaves free: values and keys of JSON, tool arguments, thinking."""

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.attackers.arithmetic import ArithmeticReceiver, ArithmeticSender, Received
from benchmarks.attackers.budgeted import honest_odds
from benchmarks.attackers.coded_tokens import CodedTokens
from benchmarks.attackers.interface import Attacker, Outside, Site, follow
from benchmarks.attackers.serving import Choose, Step
from benchmarks.grammars.matchers import GrammarMatchers
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.types import Tokenizer


def in_json_string(text: str) -> bool:
    """True if an answer so far ends inside a string of its JSON: a value or a key."""
    return "{" in text and re.sub(r"\\.", "", text).count('"') % 2 == 1


def in_arguments(text: str) -> bool:
    """True if an answer so far ends inside the arguments of a tool call."""
    return "<tool_call>" in text and '"arguments"' in text


def in_thinking(text: str) -> bool:
    """True if an answer so far has neither ended its thinking nor begun JSON or a tool call."""
    return "</think>" not in text and not text.lstrip().startswith(("{", "<tool_call>"))


class FreePart(CodedTokens):
    """Coding in one part of the answers, and honest tokens elsewhere.

    A loud one codes with the model's own probabilities, as `Steganography` does; a quiet one takes alternatives by
    their honest odds, as `Budgeted` does.
    """

    def __init__(self, tokenizer: Tokenizer, part: str, inside: Callable[[str], bool], *, quiet: bool = False) -> None:
        self._tokenizer = tokenizer
        self._part = part
        self._inside = inside
        self.on_replica = quiet

    @property
    def name(self) -> str:
        return f"{self._part}, {'by honest odds' if self.on_replica else 'by probabilities'}"

    def offer(self, step: Step, policy: Policy) -> FloatArray:
        return honest_odds(step, policy) if self.on_replica else step.probability_bk

    def choose(self, site: Site, answers: range) -> Choose:
        sender = ArithmeticSender(*site.payload.stream(answers))
        texts = [""] * len(answers)

        def said(step: Step) -> IntArray:
            tokens = step.honest_b
            offered_bk = self.offer(step, site.policy)
            for row in step.active_b:
                if self._inside(texts[row]):
                    tokens[row] = step.ids_bk[row, sender.choose(offered_bk[row])]
                texts[row] += self._tokenizer.token_text(int(tokens[row]))
            return tokens

        return said

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        receivers: dict[int, ArithmeticReceiver] = {}
        texts = [""] * len(records)

        def watch(step: Step, answers: range, said_b: IntArray) -> None:
            receiver = receivers.setdefault(answers.start, ArithmeticReceiver())
            offered_bk = self.offer(step, outside.policy)
            for row in step.active_b:
                answer = answers[int(row)]
                at = (step.ids_bk[row] == said_b[row]).nonzero()[0]
                if len(at) and self._inside(texts[answer]):
                    receiver.take(offered_bk[row], int(at[0]))
                texts[answer] += self._tokenizer.token_text(int(said_b[row]))

        follow(self._model(outside), records, watch)
        return [
            receivers[answer].received() if answer in receivers else Received(0, 0) for answer in range(len(records))
        ]


class KeyOrder(Attacker):
    """Coding in the order of a JSON object's members, which means nothing to a reader of the object.

    Only orders that the grammar allows are used, so that no token is outside it. The decoder needs the text alone, and
    the grammar, which the client knows.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._matchers: GrammarMatchers | None = None

    @property
    def name(self) -> str:
        return "order of JSON keys"

    def serve(self, site: Site, requests: Sequence[Record]) -> list[Record]:
        self._matchers = self._matchers or GrammarMatchers(site.server.identity)
        return [self._ordered(site, answer, record) for answer, record in enumerate(super().serve(site, requests))]

    def decode(self, outside: Outside, records: Sequence[Record]) -> list[Received]:
        self._matchers = self._matchers or GrammarMatchers(outside.server.identity)
        return [self._read(record) for record in records]

    def _ordered(self, site: Site, answer: int, record: Record) -> Record:
        orders = self._orders(record)
        bits = _whole_bits(orders)
        return (
            record.model_copy(update={"output_token_ids": orders[site.payload.bits(answer, 0, bits)]})
            if bits
            else record
        )

    def _read(self, record: Record) -> Received:
        orders = self._orders(record)
        bits = _whole_bits(orders)
        place = orders.index(record.output_token_ids) if record.output_token_ids in orders else 0
        return Received(place, bits) if bits and place < 1 << bits else Received(0, 0)

    def _orders(self, record: Record) -> list[list[int]]:
        """The answer with its members in every order that the grammar allows; the same list for each of these."""
        text = "".join(map(self._tokenizer.token_text, record.output_token_ids[:-1]))
        try:
            said: Any = json.loads(text)
        except ValueError:
            return []
        if record.finish_reason != "stop" or not isinstance(said, dict) or len(said) > 4:
            return []
        end = record.output_token_ids[-1]
        orders = [
            [*self._tokenizer.encode(json.dumps(dict(members)), add_special_tokens=False), end]
            for members in itertools.permutations(sorted(said.items()))
        ]
        return [order for order in orders if self._allows(record, order)]

    def _allows(self, record: Record, output: list[int]) -> bool:
        assert record.grammar is not None
        assert self._matchers is not None
        limit = record.sampling.max_tokens
        matcher = self._matchers.start(record.grammar)
        return (limit is None or len(output) <= limit) and matcher.validate_tokens(output) == len(output)


def _whole_bits(orders: Sequence[list[int]]) -> int:
    """Bits that a choice of one of the orders can carry."""
    return max(len(orders).bit_length() - 1, 0)
