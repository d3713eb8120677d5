"""One choice of one request, from the upstream server through the log to the client."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
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


@dataclass(frozen=True, kw_only=True)
class FinishedChoice:
    """How an answer ended.

    Attributes:
        ending: the end.
        rest: text that only the end releases.
        tokens: number of tokens.
    """

    ending: Ending
    rest: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class DurableText:
    """Text whose tokens are durable in the log: all that ever reaches a client.

    Attributes:
        pieces: text of tokens, one piece a token.
        end: how the answer ended, in its last part, once its record is durable; None before.
    """

    pieces: Sequence[str]
    end: FinishedChoice | None = None


@dataclass(frozen=True, kw_only=True)
class ChoiceRunner:
    """Answers choices: whatever happens, each becomes one record, which holds all that its client may have got."""

    model: ServedModel
    upstream: Upstream
    recorder: DraftRecorder
    metrics: Metrics
    events: Events

    async def answer(
        self, asked: Record, cancelled_by: Callable[[], str], *, streams: bool
    ) -> AsyncGenerator[DurableText]:
        """The answer of one choice, part by part; the last part holds the end.

        1. Begin a draft in the log: what cannot be logged is not asked for.
        2. Draw tokens from the upstream server, until the stopping rule ends the answer or the server says that it is.
        3. Make them durable, then yield their text. No more is drawn until the next part is asked for.
        4. Make the draft a record, durable before the end is yielded.

        Args:
            asked: the choice's record, without tokens.
            cancelled_by: who cut the answer off (`CUT_OFF_BY_...`), asked when this is cancelled or closed early.
            streams: whether text is yielded as it comes; otherwise all of it is in the last part.

        Raises:
            UpstreamError: the server failed; what was yielded until then is on record.
            LogWriteError, LogForked, LogClosed: the log cannot be written; nothing that is not in it was yielded.
        """
        draft = self.recorder.draft(asked)
        detokenizer = self.model.tokenizer.detokenizer(asked.sampling, asked.prompt_token_ids)
        text = Text(detokenizer, asked.sampling, self.model.eos_ids)
        drawn_ids: list[int] = []
        unreleased: list[str] = []
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
                    if not streams:
                        unreleased += pieces
                    elif ids:
                        with self.metrics.durable_seconds.time():
                            await self.recorder.extend(draft, token_bytes(ids))
                        released = len(drawn_ids)
                        yield DurableText(pieces=pieces)
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
            cancelled = isinstance(error, (asyncio.CancelledError, GeneratorExit))
            by = cancelled_by() if cancelled else blamed(error)
            if draft.confirmed or not isinstance(error, LOG_FAILURES):
                with suppress(*LOG_FAILURES):
                    await self.recorder.end(draft, asked, drawn_ids[:released], Ending("abort", by))
            raise
        # 4
        await self.recorder.end(draft, asked, drawn_ids, ending)
        self.metrics.tokens.labels("output").inc(len(drawn_ids))
        end = FinishedChoice(ending=ending, rest=text.rest(), tokens=len(drawn_ids))
        yield DurableText(pieces=unreleased, end=end)

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
