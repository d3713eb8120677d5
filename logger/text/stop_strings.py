"""Requested stop strings, looked for in an answer's text as it grows."""

from collections.abc import Sequence


class StopStrings:
    """Releases text that can no longer be part of a stop string, and finds the first that is complete.

    Whether one is complete after a token does not depend on how the text was cut into pieces. As in vLLM 0.32
    (`check_stop_strings`), of several the one that is complete first counts, and the order of the request decides
    between those that end at the same place. Text that was complete within the first `min_tokens` tokens is not looked
    at: the caller says when to begin.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        """Args: include: whether the text includes the stop string that ends it."""
        self._stops, self._include = tuple(stops), include
        self._longest = max(map(len, stops), default=0)
        self._held = ""  # the longest end of the text so far with which a stop string begins

    def add(self, text: str, *, look: bool = True) -> tuple[str, str | None]:
        """Add text: what may be released, and the stop string that it completes, after which nothing more may come.

        Args:
            look: whether a stop string may be complete in this text yet.
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
        """What is still held, once nothing more comes."""
        held, self._held = self._held, ""
        return held

    def _first(self, text: str, before: int) -> tuple[int, str] | None:
        """Of the stop strings that end beyond the first `before` characters, the one that ends first, and its start."""
        found = [(at, stop) for stop in self._stops if (at := text.find(stop, max(0, before - len(stop) + 1))) >= 0]
        return min(found, key=lambda one: one[0] + len(one[1])) if found else None

    def _may_begin(self, text: str) -> int:
        """Length of the longest end of the text with which a stop string begins."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
