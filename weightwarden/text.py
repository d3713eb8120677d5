"""Untrusted text, and suggestions, in messages."""

import difflib
from collections.abc import Iterable

SHOWN_CHARACTERS = 200
"""Most characters of an untrusted name that a message repeats."""


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: str) -> str:
    """Untrusted text as one short line that can neither steer a terminal nor reorder what stands around it."""
    return escaped(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")


def escaped(text: str, *, lines: bool = False) -> str:
    """Untrusted text, whole, with everything escaped that is not printable; where `lines`, its lines are kept."""
    return "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known name that is most like it, or nothing."""
    close = difflib.get_close_matches(name[:SHOWN_CHARACTERS], list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
