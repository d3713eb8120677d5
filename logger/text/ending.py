"""The end of an answer by its own tokens and text, independent of the server's claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from weightwarden.logger.record import Reasoning
from weightwarden.logger.text.reasoning_progress import ReasoningProgress
from weightwarden.logger.text.stop_strings import StopStrings
from weightwarden.sampler.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an answer: finish and stop reason in the form of a record."""

    finish_reason: Literal["stop", "length", "abort", "repetition"]
    stop_reason: int | str | None = None


class TextOfTokens(Protocol):
    """Maker of one answer's text, a piece for each token (`Detokenizer`)."""

    def add(self, token: int) -> str: ...

    def end(self) -> str: ...


class Text:
    """The text of one answer, a piece for each token, until the stopping rule ends it.

    The rule is vLLM's. An end-of-sequence token or a requested stop token ends the answer; its text is omitted unless
    `include_stop_str_in_output` is set. A requested stop string ends it once the text holds it, and so does the length
    limit. If one token does several of these, the stop string is named, then the token, then the length. A stop string
    that is complete within the reasoning ends nothing, unless the record says so (`Reasoning.stops_inside`).
    """

    def __init__(
        self,
        detokenizer: TextOfTokens,
        sampling: SamplingParams,
        eos_ids: frozenset[int],
        reasoning: Reasoning | None = None,
    ) -> None:
        """The beginning of an answer.

        Args:
            detokenizer: has read the prompt.
            sampling: sampling parameters, with `max_tokens`.
            eos_ids: end-of-sequence ids of the model.
            reasoning: the reasoning with which the answer may begin.
        """
        self._reasoning = None if reasoning is None else ReasoningProgress(reasoning)
        self._stops_inside = reasoning is None or reasoning.stops_inside
        self._detokenizer = detokenizer
        self._include = sampling.include_stop_str_in_output
        self._stops = StopStrings(sampling.stop, include=self._include)
        self._eos, self._stop_ids = ending_ids(sampling, eos_ids)
        self._minimum, self._limit = sampling.min_tokens, sampling.max_tokens
        self._ends = self._eos | self._stop_ids
        self._only_ids_end = not sampling.stop and reasoning is None
        self.tokens = 0
        self._over = False

    def add(self, ids: Sequence[int]) -> tuple[list[str], Ending | None]:
        """The text that each token adds, up to the one that ends the answer, and that end. Later tokens are ignored.

        Raises:
            IndexError: an id is outside the vocabulary.
        """
        if self._goes_on(ids):
            self.tokens += len(ids)
            return list(map(self._detokenizer.add, ids)), None
        pieces: list[str] = []
        for token in ids:
            look = self.tokens >= self._minimum
            self.tokens += 1
            ends = look and (token in self._eos or token in self._stop_ids)
            piece = "" if ends and not self._include else self._detokenizer.add(token)
            inside = self._reasoning is not None and self._reasoning.add(piece)
            text, stop = self._stops.add(piece, look=look and (self._stops_inside or not inside))
            ending = self._ending(token, ends, stop)
            if ending is not None:
                pieces.append(text if stop is not None else text + self.rest())
                self._over = True
                return pieces, ending
            pieces.append(text)
        return pieces, None

    def _goes_on(self, ids: Sequence[int]) -> bool:
        """True if none of these tokens can end the answer or reasoning, and no stop string is looked for."""
        return (
            self._only_ids_end
            and self._ends.isdisjoint(ids)
            and (self._limit is None or self.tokens + len(ids) < self._limit)
        )

    @property
    def reasons(self) -> bool:
        """True if the reasoning has begun, or might have, and has not ended."""
        return self._reasoning is not None and self._reasoning.lasts

    def rest(self) -> str:
        """The text that is held back once no token follows; empty when a token ended the answer."""
        if self._over:
            return ""
        text, _ = self._stops.add(self._detokenizer.end(), look=False)
        return text + self._stops.end()

    def _ending(self, token: int, ends: bool, stop: str | None) -> Ending | None:
        """The end in the engine's order, in which a stop string overrides other ends at the same token."""
        if stop is not None:
            return Ending("stop", stop)
        if ends:
            return Ending("stop", None if token in self._eos else token)
        if self._limit is not None and self.tokens >= self._limit:
            return Ending("length")
        return None


def ending_ids(sampling: SamplingParams, eos_ids: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The tokens that end an answer: end-of-sequence ids, unless the request ignores them, and requested stop ids."""
    return frozenset() if sampling.ignore_eos else eos_ids, frozenset(sampling.stop_token_ids)


def first_end(ids: Sequence[int], sampling: SamplingParams, eos_ids: frozenset[int]) -> tuple[int, Ending | None]:
    """The length and end of an answer without stop strings. The result equals that of `Text`, and needs no text."""
    eos, stop_ids = ending_ids(sampling, eos_ids)
    limit = sampling.max_tokens
    count = len(ids) if limit is None else min(limit, len(ids))
    for at in range(sampling.min_tokens, count):
        if ids[at] in eos or ids[at] in stop_ids:
            return at + 1, Ending("stop", None if ids[at] in eos else ids[at])
    return count, Ending("length") if count == limit else None
