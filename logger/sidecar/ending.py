"""Where an answer ends by its own tokens and text (sampling-spec 7.2), whatever the server says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from logger.sidecar.detokenizer import Detokenizer
from logger.sidecar.stop_strings import StopStrings
from logger.sidecar.token_bytes import TokenBytes
from sampler.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an answer ended: finish and stop reason as a record has them."""

    finish_reason: Literal["stop", "length", "abort", "repetition"]
    stop_reason: int | str | None = None


class Text:
    """The text of one answer, a piece for each token, until its stopping rule ends it."""

    def __init__(self, table: TokenBytes, sampling: SamplingParams, eos_ids: frozenset[int]) -> None:
        """Args: sampling: with `max_tokens`."""
        self._detokenizer = Detokenizer(table, skip_special=sampling.skip_special_tokens)
        self._stops = StopStrings(sampling.stop, include=sampling.include_stop_str_in_output)
        self._eos = frozenset() if sampling.ignore_eos else eos_ids
        self._stop_ids = frozenset(sampling.stop_token_ids)
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
            text, stop = self._stops.add(self._detokenizer.add(token), look=look)
            ending = self._ending(token, look, stop)
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

    def _ending(self, token: int, look: bool, stop: str | None) -> Ending | None:
        """In the engine's order: end of sequence, stop token, length; then the stop strings of the text."""
        if look and token in self._eos:
            return Ending("stop")
        if look and token in self._stop_ids:
            return Ending("stop", token)
        if stop is not None:
            return Ending("stop", stop)
        if self._limit is not None and self.tokens >= self._limit:
            return Ending("length")
        return None
