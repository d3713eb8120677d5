"""An answer as the upstream server draws it, with the end that the sidecar forces upon long reasoning."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.upstream.client import Upstream, UpstreamDelta
from weightwarden.logger.text.ending import Ending, Text
from weightwarden.logger.text.forced_end import ForcedEnd


@dataclass(slots=True)
class DrawnPart:
    """The next tokens of an answer.

    Attributes:
        ids: token ids.
        pieces: their text, one piece a token.
        ending: the answer's end after them, or None.
        claimed: whether the end is only the server's claim.
        forced: whether the sidecar put the tokens in.
    """

    ids: list[int]
    pieces: list[str]
    ending: Ending | None
    claimed: bool = False
    forced: bool = False


class DrawnAnswer:
    """The tokens of one answer. Where its reasoning has a budget, they may come from two requests to the server.

    Attributes:
        ids: token ids so far.
        forced: number of forced tokens among them.
        text: text of the answer.
    """

    def __init__(self, model: ServedModel, upstream: Upstream, asked: Record, cache_salt: str | None = None) -> None:
        """An answer without tokens.

        Args:
            asked: the choice's record, without tokens.
            cache_salt: salt of the server's prefix cache, or None.
        """
        self._upstream, self._asked, self._cache_salt = upstream, asked, cache_salt
        detokenizer = model.tokenizer.detokenizer(asked.sampling, asked.prompt_token_ids)
        self.text = Text(detokenizer, asked.sampling, model.eos_ids, asked.reasoning)
        self.ids: list[int] = []
        self.forced = 0
        self._forced_end = ForcedEnd.of(asked, model.tokenizer)

    async def parts(self) -> AsyncGenerator[DrawnPart]:
        """The answer's tokens, until the stopping rule ends it, or the server reports its end.

        1. Ask the server for the whole answer.
        2. If the reasoning goes on at its budget, leave that request, and drop what the server sent beyond.
        3. Put in the forced end, and ask the server for the rest.

        Raises:
            UpstreamError: the server failed, was lost, or did not answer a request as asked.
        """
        # 1
        async with aclosing(self._upstream.draw(self._asked, self._cache_salt)) as stream:
            async for drawn in stream:
                part = self._taken(drawn)
                yield part
                if part.ending is not None:
                    return
                if self._is_due():
                    break  # 2
        # 3
        if self._forced_end is None or not self._is_due():
            return
        pieces, ending = self.text.add(self._forced_end.ids)
        ids = self._forced_end.ids[: len(pieces)]
        self.ids += ids
        self.forced = len(ids)
        yield DrawnPart(ids, pieces, ending, forced=True)
        if ending is not None:
            return
        request = self._asked.model_copy(update={"output_token_ids": self.ids}).continuation()
        async with aclosing(self._upstream.draw(request, self._cache_salt)) as stream:
            async for drawn in stream:
                part = self._taken(drawn)
                yield part
                if part.ending is not None:
                    return

    def _taken(self, drawn: UpstreamDelta) -> DrawnPart:
        """The server's next tokens that belong to the answer."""
        end, before = self._forced_end, len(self.ids)
        if end is None or not before < end.at <= before + len(drawn.ids):
            return self._added(drawn.ids, drawn.stopped)
        within, beyond = drawn.ids[: end.at - before], drawn.ids[end.at - before :]
        part = self._added(within, None)
        if part.ending is not None or self._is_due():
            return part
        rest = self._added(beyond, drawn.stopped)
        return DrawnPart(part.ids + rest.ids, part.pieces + rest.pieces, rest.ending, rest.claimed)

    def _added(self, ids: list[int], stopped: str | None) -> DrawnPart:
        pieces, ending = self.text.add(ids)
        ids = ids[: len(pieces)]
        self.ids += ids
        if ending is None and stopped is not None:
            return DrawnPart(ids, pieces, Ending("stop" if stopped == "stop" else "length"), claimed=True)
        return DrawnPart(ids, pieces, ending)

    def _is_due(self) -> bool:
        return not self.forced and self._forced_end is not None and self._forced_end.is_due(self.text)
