"""The end of an answer by its own tokens and text, whatever the server claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from weightwarden.logger.text.stop_strings import StopStrings
from weightwarden.sampler.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an answer ended: finish and stop reason as a record has them."""

    finish_reason: Literal["stop", "length", "abort", "repetition"]
    stop_reason: int | str | None = None


class TextOfTokens(Protocol):
    """Makes the text of one answer, a piece for each token (`Detokenizer`)."""

    def add(self, token: int) -> str: ...

    def end(self) -> str: ...


class Text:
    """The text of one answer, a piece for each token, until its stopping rule ends it.

    The rule is vLLM's. A token that ends a sequence, or a requested stop token, ends the answer; its own text is left
    out unless `include_stop_str_in_output` asks for it. So does a requested stop string once the text holds it, and the
    length limit. Where one token does several of these, the stop string is named, then the token, then the length.
    """

    def __init__(self, detokenizer: TextOfTokens, sampling: SamplingParams, eos_ids: frozenset[int]) -> None:
        """Args: detokenizer: has the prompt. sampling: with `max_tokens`."""
        self._detokenizer = detokenizer
        self._include = sampling.include_stop_str_in_output
        self._stops = StopStrings(sampling.stop, include=self._include)
        self._eos, self._stop_ids = ending_ids(sampling, eos_ids)
        self._minimum, self._limit = sampling.min_tokens, sampling.max_tokens
        self.tokens = 0
        self._over = False

    def add(self, ids: Sequence[int]) -> tuple[list[str], Ending | None]:
        """The text that each token adds, up to the one that ends the answer; what comes after that is left out.

        Raises:
            IndexError: an id outside the vocabulary.
        """
        pieces: list[str] = []
        for token in ids:
            look = self.tokens >= self._minimum
            self.tokens += 1
            ends = look and (token in self._eos or token in self._stop_ids)
            piece = "" if ends and not self._include else self._detokenizer.add(token)
            text, stop = self._stops.add(piece, look=look)
            ending = self._ending(token, ends, stop)
            if ending is not None:
                pieces.append(text if stop is not None else text + self.rest())
                self._over = True
                return pieces, ending
            pieces.append(text)
        return pieces, None

    def rest(self) -> str:
        """What is still held back, once no token follows; nothing when a token ended the answer."""
        if self._over:
            return ""
        text, _ = self._stops.add(self._detokenizer.end(), look=False)
        return text + self._stops.end()

    def _ending(self, token: int, ends: bool, stop: str | None) -> Ending | None:
        """In the engine's order, in which a stop string overrides what else ends the answer at the same token."""
        if stop is not None:
            return Ending("stop", stop)
        if ends:
            return Ending("stop", None if token in self._eos else token)
        if self._limit is not None and self.tokens >= self._limit:
            return Ending("length")
        return None


def ending_ids(sampling: SamplingParams, eos_ids: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The tokens that end an answer: those that end a sequence, unless they are to be ignored, and requested ones."""
    return frozenset() if sampling.ignore_eos else eos_ids, frozenset(sampling.stop_token_ids)


def first_end(ids: Sequence[int], sampling: SamplingParams, eos_ids: frozenset[int]) -> tuple[int, Ending | None]:
    """What `Text` finds of an answer without stop strings, which needs no text: its tokens, and how it ends."""
    eos, stop_ids = ending_ids(sampling, eos_ids)
    limit = sampling.max_tokens
    count = len(ids) if limit is None else min(limit, len(ids))
    for at in range(sampling.min_tokens, count):
        if ids[at] in eos or ids[at] in stop_ids:
            return at + 1, Ending("stop", None if ids[at] in eos else ids[at])
    return count, Ending("length") if count == limit else None
