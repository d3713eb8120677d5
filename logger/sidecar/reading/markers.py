"""Search for markers in text that grows."""

import re
from collections.abc import Collection
from functools import lru_cache


class Markers:
    """Search for the first of several markers, in text that grows. Its time depends on the text's length alone."""

    def __init__(self, markers: Collection[str]) -> None:
        """A search. Of two markers at one place the longer one is found.

        Args:
            markers: texts, none empty.
        """
        self._markers = frozenset(markers)
        self._lengths = sorted({len(marker) for marker in markers}, reverse=True)
        self._beginnings = {marker[:length] for marker in markers for length in range(1, len(marker))}
        first = "".join(map(re.escape, sorted({marker[0] for marker in markers})))
        self._first = re.compile(f"[{first}]") if markers else None

    def find(self, text: str, at: int, *, ended: bool) -> tuple[int, str | None]:
        """The end of the text, from place `at` on, before any marker, and the marker that is complete there, or None.

        Args:
            text: the text.
            at: place in the text from which on it is searched.
            ended: whether no text follows; otherwise text that may begin a marker counts as one.
        """
        while self._first is not None and (first := self._first.search(text, at)) is not None:
            at = first.start()
            if not ended and len(text) - at < self._lengths[0] and text[at:] in self._beginnings:
                return at, None
            for length in self._lengths:
                if (found := text[at : at + length]) in self._markers:
                    return at, found
            at += 1
        return len(text), None


@lru_cache(maxsize=256)
def search_for(markers: frozenset[str]) -> Markers:
    """The search for a family's markers, made once."""
    return Markers(markers)
