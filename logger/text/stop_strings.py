"""Search for requested stop strings in the growing text of an answer."""

from collections.abc import Sequence


class StopStrings:
    """Filter that releases text once it cannot be part of a stop string, and finds the first complete one.

    The result after a token does not depend on how the text was split into pieces. As in vLLM 0.32
    (`check_stop_strings`), the first complete stop string counts; of those that end at the same place, the first in the
    request. Text that is complete within the first `min_tokens` tokens is not searched: the caller passes `look`.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        """A filter at the beginning of an answer.

        Args:
            stops: the stop strings.
            include: True: the released text includes the stop string that ends it.
        """
        self._stops, self._include = tuple(stops), include
        self._longest = max(map(len, stops), default=0)
        self._held = ""  # the longest suffix of the text that begins a stop string

    def add(self, text: str, *, look: bool = True) -> tuple[str, str | None]:
        """The text that may be released, and the stop string that ends the answer, or None. No text may follow it.

        Args:
            text: the next text.
            look: True: a stop string may be complete in this text.
        """
        if not self._stops or not text:
            return text, None
        before, text = len(self._held), self._held + text
        found = self._first(text, before) if look else None
        if found is not None:
            at, stop = found
            self._held = ""
            return text[: at + len(stop) if self._include else at], stop
        keep = self._may_begin(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def end(self) -> str:
        """The text that is still held, at the end of the answer."""
        held, self._held = self._held, ""
        return held

    def _first(self, text: str, before: int) -> tuple[int, str] | None:
        """The stop string that ends first, of those that end beyond the first `before` characters, with its start."""
        found = [(at, stop) for stop in self._stops if (at := text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        return min(found, key=lambda one: one[0] + len(one[1])) if found else None

    def _may_begin(self, text: str) -> int:
        """Length of the longest suffix of the text that is a prefix of a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
