"""The exchanges that have ended, matched with the log; those without a record wait for it."""

from collections import deque
from collections.abc import Iterator

from weightwarden.verifier.egress.exchange import Exchange
from weightwarden.verifier.egress.frame_counts import FrameCount, FrameCounts
from weightwarden.verifier.egress.logged_answers import LoggedAnswers, Match

READINESS, OTHER_REQUEST = "readiness", "request that the sidecar does not send"
MAX_WAITING = 1 << 16
_EXPLAINED = (Match.RECORDED, Match.FAILED_ATTEMPT)


class EndedExchanges:
    """Exchanges by their class.

    Attributes:
        counts: frames by class.
        numbers: number of explained exchanges by class.
        response_bytes: bytes of all explained responses.
        id_bytes: bytes of them that are decimal digits of the logged token ids.
        logged_tokens: token ids that the log has.
        cut_tokens: token ids beyond those.
    """

    def __init__(self, answers: LoggedAnswers) -> None:
        self._answers = answers
        self.counts = FrameCounts()
        self.numbers = {Match.RECORDED.value: 0, Match.FAILED_ATTEMPT.value: 0, READINESS: 0}
        self.response_bytes = self.id_bytes = self.logged_tokens = self.cut_tokens = 0
        self._waiting: deque[Exchange] = deque()

    def add(self, exchange: Exchange) -> None:
        """Account for an exchange that has ended."""
        if exchange.kind == "completion":
            if self._try(exchange) in _EXPLAINED:
                return
            self._waiting.append(exchange)
            if len(self._waiting) > MAX_WAITING:
                oldest = self._waiting.popleft()
                self.counts.add_count(Match.NONE.value, oldest.frames)
                oldest.forget()
        elif exchange.kind == "readiness":
            self._explain(READINESS, exchange)
        else:
            self.counts.add_count(OTHER_REQUEST, exchange.frames)

    def waiting(self) -> Iterator[tuple[str, FrameCount]]:
        """The frames of the exchanges that the log lacks, with their kind. Those that it has by now are explained."""
        still: deque[Exchange] = deque()
        while self._waiting:
            exchange = self._waiting.popleft()
            match = self._try(exchange)
            if match not in _EXPLAINED:
                still.append(exchange)
                yield match.value, exchange.frames
        self._waiting = still

    def _try(self, exchange: Exchange) -> Match:
        """The match of an exchange; if it is explained, it is accounted for."""
        drawn = exchange.drawn
        match, cut = self._answers.match(drawn)
        if match in _EXPLAINED:
            logged = drawn.ids[: len(drawn.ids) - cut]
            self.id_bytes += len(",".join(map(str, logged)))
            self.logged_tokens += len(logged)
            self.cut_tokens += cut
            self._explain(match.value, exchange)
        return match

    def _explain(self, kind: str, exchange: Exchange) -> None:
        self.counts.add_count(kind, exchange.frames)
        self.numbers[kind] += 1
        self.response_bytes += exchange.response_bytes
        exchange.forget()
