"""Answer of one choice: tokens from the upstream server are made durable in the log, then sent to the client."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from weightwarden.logger.formats.canonical import token_bytes
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, CUT_OFF_BY_UPSTREAM, REFUSED_BY_UPSTREAM, Record
from weightwarden.logger.release import Release
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.drawn_answer import DrawnAnswer
from weightwarden.logger.sidecar.errors import UpstreamError, UpstreamRefusal
from weightwarden.logger.sidecar.log.recorder import CUT_OFF, LOG_FAILURES, DraftRecorder, ended
from weightwarden.logger.sidecar.log.seeds import Issued
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.upstream.causes import SHORT_ANSWER, cause_of_refusal
from weightwarden.logger.sidecar.upstream.replicas import Replicas
from weightwarden.logger.store.draft import Draft
from weightwarden.logger.text.ending import Ending


@dataclass(frozen=True, kw_only=True)
class FinishedChoice:
    """The end of an answer.

    Attributes:
        ending: finish reason and stop reason.
        rest: text that is released only at the end.
        tokens: number of output tokens, forced ones included.
        record_index: the record's index in the log.
        ids: token ids of all of the answer.
    """

    ending: Ending
    rest: str
    tokens: int
    ids: Sequence[int]
    record_index: int | None


@dataclass(frozen=True, kw_only=True)
class DurableText:
    """Text whose tokens are durable in the log. A client gets no other text.

    Attributes:
        pieces: text of the tokens, one piece a token.
        end: end of the answer, in the last part, once the record is durable, or with a pace once all tokens are; None
            before.
        ends: whether no token follows.
    """

    pieces: Sequence[str]
    end: FinishedChoice | None = None
    ends: bool = False


@dataclass(frozen=True, kw_only=True)
class ChoiceRunner:
    """Runner of choices. Every choice becomes one record, after a failure too.

    The record holds all tokens that the client may have received.
    """

    model: ServedModel
    replicas: Replicas
    recorder: DraftRecorder
    metrics: Metrics
    events: Events

    async def answer(
        self,
        asked: Record,
        request_id: str,
        issued: Issued,
        cancelled_by: Callable[[], str],
        recorded: Callable[[int], None],
        *,
        streams: bool,
        cache_salt: str | None = None,
        released: Callable[[BaseException | None], Awaitable[Release]] | None = None,
    ) -> AsyncGenerator[DurableText]:
        """The answer of one choice, part by part; the last part holds the end.

        1. Begin a draft in the log, beside the recording of the seeds. If that fails, the server is not asked.
        2. Draw tokens from the upstream server, until the stopping rule ends the answer or the server reports its end
           (`DrawnAnswer`).
        3. Make them durable, then yield their text. No more tokens are drawn until the next part is asked for.
        4. Make the draft a record. The end is yielded once the record is durable. With a pace the record holds the
           moments at which the answer left, so that it is made last: the end is yielded once all tokens and the end are
           durable in the draft.

        Args:
            asked: the choice's record, without tokens.
            request_id: id of its request.
            issued: the seeds that were issued to its request.
            cancelled_by: returns the party that cut the answer off (`CUT_OFF_BY_...`). It is called when this generator
                is cancelled or closed early.
            recorded: receives the record's index, whatever became of the answer.
            streams: True: text is yielded as tokens become durable. False: all text is in the last part.
            cache_salt: salt of the server's prefix cache, or None. It is not recorded.
            released: with a pace, waits until the answer has left, and returns its release. It is given the failure
                that ended the answer, or None.

        Raises:
            UpstreamError: the server failed. All text yielded before is on record.
            LogWriteError: the log cannot be written. No text was yielded that is not in the log.
            LogForked: the database lost what the writer confirmed. No text was yielded that is not in the log.
            LogClosed: the writer was closed. No text was yielded that is not in the log.
        """
        draft = self.recorder.draft(asked, request_id)
        answer = DrawnAnswer(self.model, self.replicas.of(asked), asked, cache_salt)
        unreleased: list[str] = []
        durable = 0
        ending: Ending | None = None
        try:
            # 1
            await self.recorder.extend(draft, b"")
            await issued.recorded()
            # 2
            async with aclosing(answer.parts()) as parts:
                async for part in parts:
                    # 3
                    if not streams:
                        unreleased += part.pieces
                    elif part.ids:
                        ends = released is not None and part.ending is not None
                        so_far = None
                        if part.forced or ends:
                            so_far = ended(asked, answer.ids, (ends and part.ending) or CUT_OFF, answer.forced)
                        with self.metrics.durable_seconds.time():
                            await self.recorder.extend(draft, token_bytes(part.ids), so_far)
                        durable = len(answer.ids)
                        yield DurableText(pieces=part.pieces, ends=ends)
                    ending = part.ending
                    if part.claimed and ending == Ending("length"):
                        self._say_short(asked, request_id, len(answer.ids))
            if ending is None or not answer.ids:
                raise UpstreamError("ended early")
            if released is not None and not streams:
                await self.recorder.extend(
                    draft, token_bytes(answer.ids), ended(asked, answer.ids, ending, answer.forced)
                )
        except BaseException as error:
            if isinstance(error, UpstreamRefusal):
                self._say_refused(asked, request_id, error.status)
            cancelled = isinstance(error, (asyncio.CancelledError, GeneratorExit))
            by = cancelled_by() if cancelled else blamed(error)
            if draft.confirmed or not isinstance(error, LOG_FAILURES):
                record = ended(asked, answer.ids[:durable], Ending("abort", by), answer.forced)
                if released is not None:
                    record = record.model_copy(update={"release": await released(error)})
                with suppress(*LOG_FAILURES):
                    index = await self.recorder.end(draft, record)
                    if index is not None:
                        recorded(index)
            raise
        # 4
        record = ended(asked, answer.ids, ending, answer.forced)
        self.metrics.tokens.labels("output").inc(len(answer.ids))
        end = FinishedChoice(
            ending=ending, rest=answer.text.rest(), tokens=len(answer.ids), ids=answer.ids, record_index=None
        )
        if released is None:
            end = replace(end, record_index=await self._recorded(draft, record, recorded))
            yield DurableText(pieces=unreleased, end=end)
            return
        try:
            yield DurableText(pieces=unreleased, end=end)
            release = await released(None)
        except BaseException as error:
            with suppress(*LOG_FAILURES):
                release = await released(error)
                await self._recorded(draft, record.model_copy(update={"release": release}), recorded)
            raise
        await self._recorded(draft, record.model_copy(update={"release": release}), recorded)

    async def _recorded(self, draft: Draft, record: Record, recorded: Callable[[int], None]) -> int | None:
        """The index of the record that the draft becomes."""
        index = await self.recorder.end(draft, record)
        if index is not None:
            recorded(index)
        return index

    def _say_refused(self, asked: Record, request_id: str, status: int) -> None:
        self.events.say(
            "upstream refused",
            request_id=request_id,
            status=status,
            cause=cause_of_refusal(status),
            prompt_tokens=len(asked.prompt_token_ids),
            max_tokens=asked.sampling.max_tokens,
            context_length=self.model.context_length,
        )

    def _say_short(self, asked: Record, request_id: str, tokens: int) -> None:
        self.events.say(
            "upstream ended early",
            request_id=request_id,
            claimed="length",
            tokens=tokens,
            limit=asked.sampling.max_tokens,
            cause=SHORT_ANSWER,
        )


def blamed(error: BaseException) -> str:
    """The party to which a cut-off answer is attributed (`CUT_OFF_BY_...`, `REFUSED_BY_UPSTREAM`), by exception."""
    if isinstance(error, UpstreamRefusal):
        return REFUSED_BY_UPSTREAM
    return CUT_OFF_BY_UPSTREAM if isinstance(error, UpstreamError) else CUT_OFF_BY_LOGGER
