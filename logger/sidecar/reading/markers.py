"""Search for markers in text that grows."""

import re
from collections.abc import Collection
from functools import lru_cache


class Markers:
    """Search for the first of several markers, in text that grows."""

    def __init__(self, markers: Collection[str]) -> None:
        """A search. Of two markers at one place the longer one is found.

        Args:
            markers: texts, none empty.
        """
        ordered = sorted(set(markers), key=lambda marker: (-len(marker), marker))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._beginnings = {marker[:length] for marker in ordered for length in range(1, len(marker))}
        self._longest = max(map(len, ordered), default=0)

    def find(self, text: str, at: int, *, ended: bool) -> tuple[int, str | None]:
        """The end of the text, from place `at` on, before any marker, and the marker that is complete there, or None.

        Args:
            text: the text.
            at: place in the text from which on it is searched.
            ended: whether no text follows; otherwise text that may begin a marker counts as one.
        """
        found = self._pattern.search(text, at) if self._pattern is not None else None
        stop = len(text) if found is None else found.start()
        if not ended:
            for start in range(max(at, len(text) - self._longest + 1), min(stop + 1, len(text))):
                if text[start:] in self._beginnings:
                    return start, None
        return stop, None if found is None else found[0]


@lru_cache(maxsize=256)
def search_for(markers: frozenset[str]) -> Markers:
    """The search for a family's markers, made once."""
    return Markers(markers)
