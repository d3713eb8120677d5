"""Detection of hanging work: the time under way without progress."""

import time


class HangDetector:
    """Detector for one kind of work: updated by the thread that works, read by another."""

    def __init__(self) -> None:
        self._since: float | None = None

    def progressed(self) -> None:
        """Register that work began, or made progress."""
        self._since = time.monotonic()

    def ended(self) -> None:
        """Register that no work is under way."""
        self._since = None

    @property
    def seconds(self) -> float:
        """Seconds since the last progress; 0 without work under way."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since
