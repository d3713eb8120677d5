"""Types that several rooms of the verifier share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams


@dataclass(frozen=True)
class RowSpan:
    """Successive output positions of one record within a chunk: rows [row, row + count) are positions from `start`."""

    record: int
    start: int
    row: int
    count: int


class Tokenizer(Protocol):
    """The part of a tokenizer that verification needs (`ModelTokenizer`)."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def encode_answer(self, text: str) -> list[int]: ...

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens: ...

    def token_text(self, token: int) -> str: ...
