"""Domain types that several modules of the verifier share."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Piece:
    """Successive output positions of one record within a chunk: rows [row, row + count) are positions from `start`."""

    record: int
    start: int
    row: int
    count: int


class Tokenizer(Protocol):
    """The two things that verification needs of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str: ...
