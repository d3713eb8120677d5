"""The forced end of unfinished reasoning: after which token of an answer, and which tokens."""

from dataclasses import dataclass
from typing import Protocol

from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import Text


class AnswerTokenizer(Protocol):
    """Maker of the token ids of text that continues a prompt (`ModelTokenizer`)."""

    def encode_answer(self, text: str) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class ForcedEnd:
    """The end that the sidecar puts into an answer whose reasoning has not ended within its budget.

    It depends on the request and the answer's tokens alone, so that the verifier finds the same.

    Attributes:
        at: number of output tokens before it: the budget.
        ids: its token ids.
    """

    at: int
    ids: list[int]

    @classmethod
    def of(cls, record: Record, tokenizer: AnswerTokenizer) -> "ForcedEnd | None":
        """The forced end that an answer of this request may need.

        None for a request without a budget, for an end without tokens, and where the length limit leaves no token for
        the rest of the answer.

        Args:
            record: a record of the request, with or without tokens.
        """
        reasoning, limit = record.reasoning, record.sampling.max_tokens
        if reasoning is None or reasoning.budget is None or reasoning.forced_end is None:
            return None
        ids = tokenizer.encode_answer(reasoning.forced_end)
        if not ids or (limit is not None and reasoning.budget + len(ids) >= limit):
            return None
        return cls(reasoning.budget, ids)

    def is_due(self, text: Text) -> bool:
        """True if the answer, which has not ended, has as many tokens as the budget and still reasons."""
        return text.tokens == self.at and text.reasons
