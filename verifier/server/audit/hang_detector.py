"""Detection of hanging work: the time under way without progress."""

import time


class HangDetector:
    """One kind of work; told by the thread that does it, asked by another."""

    def __init__(self) -> None:
        self._since: float | None = None

    def progressed(self) -> None:
        """Work began, or went on."""
        self._since = time.monotonic()

    def ended(self) -> None:
        """Nothing is under way."""
        self._since = None

    @property
    def seconds(self) -> float:
        """Since the last progress; 0 where nothing is under way."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since
