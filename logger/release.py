"""The release of an answer: the moments at which its tokens left the sidecar (docs/design.md, section 2).

An answer starts on a geometric grid of moments, counted from the arrival of its request, with its first token: the
first group. From then on a group of `Pace.tokens` tokens leaves on each tick; a tick that finds fewer is an underrun,
and nothing leaves. The moments are a function of the pace, the start slot and the underruns, so that these hold all
that the inference server could say by them.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.errors import WeightwardenError
from weightwarden.sampler.params import refusal
from weightwarden.text import printable

SLOTS = 64
"""Number of moments on which an answer may start."""
FIRST_SLOT_SECONDS, SLOT_RATIO = 0.01, 1.25
"""The first of these moments, in seconds from the request's arrival, and the ratio of each to the one before."""
MAX_PACE_TOKENS, MAX_PACE_MILLISECONDS = 4096, 60_000


def slot_seconds(slot: int) -> float:
    """The moment of a start slot, seconds from the request's arrival."""
    return FIRST_SLOT_SECONDS * SLOT_RATIO**slot


class PaceError(WeightwardenError, ValueError):
    """A text that is no pace."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Pace(_Strict):
    """The pace at which answers leave.

    Attributes:
        tokens: tokens of a group after the first one, which has one token. The last group may have fewer.
        milliseconds: time between two ticks. A group leaves on a tick.
    """

    tokens: Annotated[int, Field(ge=1, le=MAX_PACE_TOKENS)]
    milliseconds: Annotated[int, Field(ge=1, le=MAX_PACE_MILLISECONDS)]

    @classmethod
    def parse(cls, text: str) -> "Pace":
        """The pace of `TOKENS/MILLISECONDS`.

        Raises:
            PaceError: the text is no pace.
        """
        found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
        tokens, milliseconds = map(int, found.groups()) if found else (0, 0)
        if not (1 <= tokens <= MAX_PACE_TOKENS and 1 <= milliseconds <= MAX_PACE_MILLISECONDS):
            raise PaceError(
                f"{printable(text)}: not TOKENS/MILLISECONDS, with 1 to {MAX_PACE_TOKENS} tokens and 1 to"
                f" {MAX_PACE_MILLISECONDS} milliseconds, such as 8/200"
            )
        return cls(tokens=tokens, milliseconds=milliseconds)

    @property
    def seconds(self) -> float:
        """Time between two ticks, seconds."""
        return self.milliseconds / 1000

    def last_token(self, group: int) -> int:
        """The last token of a full group, both counted from 0."""
        return group * self.tokens

    def groups(self, tokens: int) -> int:
        """Number of groups of an answer of so many tokens. An answer without tokens has one, too."""
        return 1 + -(-max(tokens - 1, 0) // self.tokens)

    def fills_groups(self, tokens: int) -> bool:
        """True if an answer of so many tokens has tokens, and its last group is full."""
        return self.groups(tokens + 1) > self.groups(tokens)

    def __str__(self) -> str:
        return f"{self.tokens}/{self.milliseconds}"


class Release(_Strict):
    """The moments at which an answer left.

    Attributes:
        pace: the pace.
        streamed: whether the answer left group by group, or whole, at its start.
        start_slot: slot of the first group, or of the whole answer. None if nothing left, or if the sidecar was killed
            before it recorded what left.
        underruns: pairs of a group, counted from 0, and the number of ticks before it that found too few tokens. Groups
            without underruns are left out. The first group has none.
    """

    pace: Pace
    streamed: bool
    start_slot: Annotated[int, Field(ge=0, lt=SLOTS)] | None = None
    underruns: list[Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _underruns_ascend(self) -> "Release":
        if self.underruns and (self.start_slot is None or not self.streamed):
            raise refusal("underruns", "underruns", "only of a streamed answer that started")
        if any(later[0] <= one[0] for one, later in pairwise(self.underruns)):
            raise refusal("underruns", "underruns", "not in the order of their groups, each group once")
        return self

    @property
    def ticks_missed(self) -> int:
        """Number of ticks that found too few tokens."""
        return sum(ticks for _, ticks in self.underruns)


def run_lengths(missed: Sequence[int]) -> list[list[int]]:
    """The underruns of a record, from the ticks missed before each group."""
    return [[group, ticks] for group, ticks in enumerate(missed) if ticks]
