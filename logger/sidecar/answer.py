"""One choice of one request, from the upstream server through the log to the client."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from weightwarden.logger.formats.canonical import token_bytes
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, CUT_OFF_BY_UPSTREAM, REFUSED_BY_UPSTREAM, Record
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.errors import UpstreamError, UpstreamRefusal
from weightwarden.logger.sidecar.log.recorder import LOG_FAILURES, DraftRecorder
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.upstream.causes import SHORT_ANSWER, cause_of_refusal
from weightwarden.logger.sidecar.upstream.client import Upstream
from weightwarden.logger.text.ending import Ending, Text

Release = Callable[[Sequence[str]], Awaitable[None]]
"""Lets the client have the text of some tokens, one piece a token; returns when there is room for more."""


@dataclass(frozen=True, kw_only=True)
class FinishedChoice:
    """How an answer ended. `rest` is text that only the end releases. `tokens`: how many."""

    ending: Ending
    rest: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class ChoiceRunner:
    """Answers choices: whatever happens, each becomes one record, which holds all that its client may have got."""

    model: ServedModel
    upstream: Upstream
    recorder: DraftRecorder
    metrics: Metrics
    events: Events

    async def answer(
        self, asked: Record, release: Release, cancelled_by: Callable[[], str], *, streams: bool
    ) -> FinishedChoice:
        """Answer one choice.

        1. Begin a draft in the log: what cannot be logged is not asked for.
        2. Draw tokens from the upstream server, until the stopping rule ends the answer or the server says that it is.
        3. Make them durable, then release them.
        4. Make the draft a record, durable before the end is released.

        Args:
            asked: the choice's record, without tokens.
            release: takes the text of tokens.
            streams: whether it lets the client have them at once; otherwise all are released when this returns.
            cancelled_by: who cut the answer off (`CUT_OFF_BY_...`), asked when this task is cancelled.

        Raises:
            UpstreamError: the server failed; what was released until then is on record.
            LogWriteError, LogForked, LogClosed: the log cannot be written; nothing that is not in it was released.
        """
        draft = self.recorder.draft(asked)
        detokenizer = self.model.tokenizer.detokenizer(asked.sampling, asked.prompt_token_ids)
        text = Text(detokenizer, asked.sampling, self.model.eos_ids)
        drawn_ids: list[int] = []
        released = 0
        ending: Ending | None = None
        try:
            # 1
            await self.recorder.extend(draft, b"")
            # 2
            async with aclosing(self.upstream.draw(asked)) as stream:
                async for drawn in stream:
                    pieces, ending = text.add(drawn.ids)
                    ids = drawn.ids[: len(pieces)]
                    drawn_ids += ids
                    # 3
                    if streams and ids:
                        with self.metrics.durable_seconds.time():
                            await self.recorder.extend(draft, token_bytes(ids))
                        released = len(drawn_ids)
                    if ids:
                        await release(pieces)
                    if ending is None and drawn.stopped is not None:
                        ending = Ending(drawn.stopped)  # as claimed, for the verifier to judge
                        if drawn.stopped == "length":
                            self._say_short(asked, len(drawn_ids))
                    if ending is not None:
                        break
            if ending is None or not drawn_ids:
                raise UpstreamError("ended early")
        except BaseException as error:
            if isinstance(error, UpstreamRefusal):
                self._say_refused(asked, error.status)
            by = cancelled_by() if isinstance(error, asyncio.CancelledError) else blamed(error)
            if draft.confirmed or not isinstance(error, LOG_FAILURES):
                with suppress(*LOG_FAILURES):
                    await self.recorder.end(draft, asked, drawn_ids[:released], Ending("abort", by))
            raise
        # 4
        await self.recorder.end(draft, asked, drawn_ids, ending)
        return FinishedChoice(ending=ending, rest=text.rest(), tokens=len(drawn_ids))

    def _say_refused(self, asked: Record, status: int) -> None:
        self.events.say(
            "upstream refused",
            status=status,
            cause=cause_of_refusal(status),
            prompt_tokens=len(asked.prompt_token_ids),
            max_tokens=asked.sampling.max_tokens,
            context_length=self.model.context_length,
        )

    def _say_short(self, asked: Record, tokens: int) -> None:
        self.events.say(
            "upstream ended early", claimed="length", tokens=tokens, limit=asked.sampling.max_tokens, cause=SHORT_ANSWER
        )


def blamed(error: BaseException) -> str:
    """Who an exception cut an answer off for (`CUT_OFF_BY_...`, `REFUSED_BY_UPSTREAM`)."""
    if isinstance(error, UpstreamRefusal):
        return REFUSED_BY_UPSTREAM
    return CUT_OFF_BY_UPSTREAM if isinstance(error, UpstreamError) else CUT_OFF_BY_LOGGER
