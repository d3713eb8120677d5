"""The opening of a TCP connection: the sidecar's segment, and the server's answers to it."""

from weightwarden.verifier.egress.layers import ACK, FIN, RST, URG, Segment

MAX_ANSWERS = 8
"""Largest number of different answers to one opening, of which the sidecar takes one."""


class Opening:
    """An opening. A server that lost the first one may answer a second one with another sequence number.

    Attributes:
        answer: the answer that the sidecar took, or the newest one before it took any; None before the first.
        taken: True once the sidecar has acknowledged an answer.
    """

    def __init__(self, syn: Segment) -> None:
        self._syn = syn
        self._answers: list[Segment] = []
        self.answer: Segment | None = None
        self.taken = False

    def is_of(self, syn: Segment) -> bool:
        """True if a segment of the sidecar opens this connection, for the first time or again."""
        return syn.sequence == self._syn.sequence

    def fault_of(self, segment: Segment, *, upward: bool) -> str | None:
        """Take in a segment of the opening; the kind of what is unexplained about it, or None."""
        if segment.payload:
            return "data in the opening of a connection"
        if segment.flags & (FIN | RST | URG):
            return "malformed header"
        if upward:
            return None if self.is_of(segment) else "segment before its connection"
        if not segment.flags & ACK:
            return "connection that the sidecar did not open"
        if any(one.sequence == segment.sequence for one in self._answers):
            return None
        if self.taken or len(self._answers) >= MAX_ANSWERS:
            return "second opening of a connection"
        self._answers.append(segment)
        self.answer = segment
        return None

    def take(self, acknowledgement: int) -> None:
        """Take in the sidecar's first acknowledgement, which tells the answer that it took."""
        if self._answers:
            self.answer = min(self._answers, key=lambda one: (acknowledgement - 1 - one.sequence) % 2**32)
            self.taken = True

    @property
    def scales(self) -> tuple[int, int]:
        """Window scales of the sidecar and of the server; they hold if both give one."""
        ours = window_scale(self._syn.options)
        theirs = None if self.answer is None else window_scale(self.answer.options)
        return (0, 0) if ours is None or theirs is None else (ours, theirs)


def window_scale(options: bytes) -> int | None:
    """The window scale in the options of a segment, or None."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2:
            return None
        if options[at] == 3 and length == 3 and at + 2 < len(options):
            return min(options[at + 2], 14)
        at += length
    return None
