"""Service of interpreted requests: seeds, choices side by side, and the response."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from weightwarden.logger.formats.canonical import RecordEncodingError, encode_record
from weightwarden.logger.record import CUT_OFF_BY_CLIENT, CUT_OFF_BY_LOGGER, Engine, Record
from weightwarden.logger.release import Pace, Release
from weightwarden.logger.sidecar.answer import ChoiceRunner, DurableText, FinishedChoice, blamed
from weightwarden.logger.sidecar.choice_reading import ChoiceReading
from weightwarden.logger.sidecar.errors import (
    ApiError,
    UpstreamError,
    busy,
    invalid,
    log_unavailable,
    stopping,
    upstream_failed,
)
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.logger.sidecar.log.call_ids import CallIds
from weightwarden.logger.sidecar.log.draw import draw_digest
from weightwarden.logger.sidecar.log.recorder import LOG_FAILURES, DraftRecorder
from weightwarden.logger.sidecar.log.seeds import Issued, Seeds
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.paced_answers import PacedAnswers
from weightwarden.logger.sidecar.release_ticks import Ticks
from weightwarden.logger.sidecar.response import Response
from weightwarden.logger.sidecar.whole_answers import WholeAnswer, WholeBodies, undrawn_answers, whole_answer
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, ChoiceEnd, Head
from weightwarden.logger.sidecar.wire.requests import GenerationRequest
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.validation_message import field_and_fault

DurableTexts = AsyncGenerator[DurableText]
Used = TypeVar("Used")


@dataclass
class Service:
    """Service of one model through one log.

    Answers leave on ticks, or at a pace, which the gate keeps, or at once. `sends_record_index` is True if clients are
    given the indices of their records.
    """

    choice_runner: ChoiceRunner
    recorder: DraftRecorder
    engine: Engine
    issuer: Seeds
    limits: Limits
    metrics: Metrics
    call_ids: CallIds
    bodies: WholeBodies
    ticks: Ticks | None = None
    pace: Pace | None = None
    sends_record_index: bool = False
    clock: Callable[[], float] = time.time
    stopping: bool = False
    under_way: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def respond(self, asked: GenerationRequest, response: Response) -> None:
        """Answer a request.

        1. If there is room, choose a server, and give every prompt a counter, and so a seed. A request that failed
           before gets its old one, whichever server it is given to.
        2. Answer all choices side by side. Tokens leave when they are durable, and on a tick if there are ticks.
        3. End the response when every record is durable. If a choice failed, keep the counters and report the failure.

        Raises:
            ApiError: the request failed before anything was sent; the client is told this error.
        """
        # 1
        if self.stopping:
            raise stopping()
        if self.recorder.failing:
            raise log_unavailable()
        issued = Issued()
        number = next(self._numbers)
        head = Head(
            request_id=response.request_id,
            created=int(self.clock()),
            model=self.choice_runner.model.name if asked.adapter is None else asked.adapter.name,
            prompt_tokens=sum(map(len, asked.prompts)),
            call_id=lambda choice, begin: asked.call_id(self.call_ids.of(number, choice, begin.index), begin),
        )
        try:
            async with self._counted(len(asked.prompts) * asked.choices, number) as replica:
                if not asked.draws:
                    await self._send_whole(asked, undrawn_answers(asked, head), head, response, number)
                    return
                records, issued = await self._records(asked, replica)
                self.metrics.tokens.labels("prompt").inc(head.prompt_tokens)
                # 2, 3
                if self.pace is not None:
                    await self._paced(asked, records, issued, head, response, self.pace)
                elif asked.stream:
                    await self._stream(asked, records, issued, asked.form(head), response, number)
                else:
                    await self._whole(asked, records, issued, head, response, number)
        finally:
            self.issuer.end(issued, complete=response.complete)

    async def _records(self, asked: GenerationRequest, replica: str | None) -> tuple[list[Record], Issued]:
        """The records of all choices, without tokens, and the seeds that were issued to their prompts."""
        sampling = asked.sampling.model_copy(update={"n": asked.choices if asked.choices > 1 else None})
        records: list[Record] = []
        issued = Issued()
        vocabulary = self.choice_runner.model.vocabulary
        try:
            likes = [self._record(prompt, asked, sampling, replica) for prompt in asked.prompts]
            for like in likes:
                encode_record(like)
            seeds = [asked.seed] * len(likes)
            if asked.seed is None and not sampling.is_greedy:
                issued = await self.issuer.issue([draw_digest(like, vocabulary) for like in likes])
                seeds = [self.issuer.seed(one, asked.choices) for one in issued.seeds]
            for like, seed in zip(likes, seeds, strict=True):
                update = {"seed": None if sampling.is_greedy else seed}
                records += [like.model_copy(update=update | {"choice_index": at}) for at in range(asked.choices)]
        except ValidationError as error:
            field, what = field_and_fault(error)
            raise invalid(f"{field}: {what}", field and field.removeprefix("sampling.")) from None
        except RecordEncodingError as error:
            raise invalid(str(error)) from None
        except LOG_FAILURES:
            raise log_unavailable() from None
        return records, issued

    def _record(
        self, prompt: list[int], asked: GenerationRequest, sampling: SamplingParams, replica: str | None
    ) -> Record:
        """The record of a prompt's last choice, with the client's seed or 0. If it is valid, all of them are."""
        return Record(
            engine=self.engine,
            model=self.choice_runner.model.name,
            prompt_token_ids=prompt,
            output_token_ids=[],
            seed=None if sampling.is_greedy else asked.seed or 0,
            choice_index=asked.choices - 1,
            sampling=sampling,
            finish_reason="abort",
            stop_reason=CUT_OFF_BY_LOGGER,
            grammar=asked.grammar,
            reasoning=asked.reasoning,
            adapter=asked.adapter,
            release=None if self.pace is None else Release(pace=self.pace, streamed=asked.stream),
            replica=replica,
            logprobs=asked.logprobs,
        )

    @asynccontextmanager
    async def _counted(self, choices: int, number: int) -> AsyncIterator[str | None]:
        """Reservation of room for so many choices, for as long as they are under way; the name of their server.

        After a failure, the error is sent and the room freed on a tick, since another client could observe the free
        room.
        """
        if self.under_way + choices > self.limits.concurrent:
            await self._tick(number, 0)
            raise busy()
        self.under_way += choices
        self.metrics.choices.inc(choices)
        try:
            with self.choice_runner.replicas.chosen(choices) as replica:
                try:
                    yield replica
                except ApiError:
                    await self._tick(number, 0)
                    raise
        finally:
            self.under_way -= choices
            self.metrics.choices.dec(choices)

    async def _paced(
        self,
        asked: GenerationRequest,
        records: Sequence[Record],
        issued: Issued,
        head: Head,
        response: Response,
        pace: Pace,
    ) -> None:
        answers = PacedAnswers(asked, records, head, response, pace, self.metrics, self.bodies)
        used = answers.streamed if asked.stream else answers.whole
        await self._side_by_side(asked, records, issued, response, used, released=answers.released)
        response.complete = answers.complete

    async def _whole(
        self,
        asked: GenerationRequest,
        records: Sequence[Record],
        issued: Issued,
        head: Head,
        response: Response,
        number: int,
    ) -> None:
        async def answered(index: int, texts: DurableTexts) -> WholeAnswer:
            sends = self.sends_record_index
            return await whole_answer(index, texts, asked, records[index], head, sends_record_index=sends)

        answers = await self._side_by_side(asked, records, issued, response, answered)
        await self._send_whole(asked, answers, head, response, number)

    async def _send_whole(
        self, asked: GenerationRequest, answers: Sequence[WholeAnswer], head: Head, response: Response, number: int
    ) -> None:
        body = await self.bodies.of(asked, head, answers)
        await self._tick(number, 0)
        response.output_tokens = sum(len(answer.ids) for answer in answers)
        response.begun, response.status = True, 200
        await response.write_body(200, body)
        response.complete = True

    async def _stream(
        self,
        asked: GenerationRequest,
        records: Sequence[Record],
        issued: Issued,
        form: AnswerForm,
        response: Response,
        number: int,
    ) -> None:
        writing = asyncio.Lock()
        started = time.perf_counter()

        async def write(index: int, *events: bytes) -> None:
            await self._tick(number, index)
            async with writing:
                if not response.begun:
                    self.metrics.first_token_seconds.observe(time.perf_counter() - started)
                response.begun, response.status = True, 200
                await response.write_events(events)  # chunks must not show how many tokens the server sent together

        async def streamed(index: int, texts: DurableTexts) -> ChoiceEnd:
            reading = ChoiceReading(asked.reader)
            begin = [form.begin(index)]
            async for text in texts:
                if text.pieces:
                    response.output_tokens += len(text.pieces)
                    first = begin.pop() if begin else []
                    await write(index, *first, *reading.events(form, index, text.pieces))
                if text.end is not None:
                    last, rest = reading.last_events(form, index, text.end.rest)
                    end = self._end(text.end, reading)
                    await write(index, *last, *form.end(index, rest, end))
                    return end
            raise AssertionError("the last part of an answer holds its end")

        try:
            ends = await self._side_by_side(asked, records, issued, response, streamed)
        except ApiError as error:
            if not response.begun:
                raise
            await write(len(records), *form.error(error))
            response.status, response.reason = error.status, error.reason
            await response.close()
            return
        await write(len(records), *form.close(ends))
        await response.close()
        response.complete = True

    def _end(self, end: FinishedChoice, reading: ChoiceReading) -> ChoiceEnd:
        return reading.choice_end(end.ending, end.tokens, end.record_index if self.sends_record_index else None)

    async def _side_by_side(
        self,
        asked: GenerationRequest,
        records: Sequence[Record],
        issued: Issued,
        response: Response,
        used: Callable[[int, DurableTexts], Coroutine[Any, Any, Used]],
        released: Callable[[int, BaseException | None], Awaitable[Release]] | None = None,
    ) -> list[Used]:
        """Results of all choices, answered side by side. When one fails the others are cut off, for the same cause.

        Args:
            asked: the request.
            records: the choices, without tokens.
            issued: the seeds that were issued to them.
            response: the response, which is given the indices of their records.
            used: consumer of a choice's durable text, as tokens become durable if the request streams; its result is
                returned.
            released: with a pace, returns the release of a choice after its end, or after a failure, which it tells the
                client.

        Raises:
            ApiError: the first failure, in the words for the client.
        """
        failed_by: str | None = None
        replicas = self.choice_runner.replicas

        def cancelled_by() -> str:
            return failed_by or (CUT_OFF_BY_LOGGER if self.stopping else CUT_OFF_BY_CLIENT)

        async def one(index: int, record: Record) -> Used:
            nonlocal failed_by
            answer = self.choice_runner.answer(
                record,
                response.request_id,
                issued,
                cancelled_by,
                response.records.append,
                streams=asked.stream,
                cache_salt=asked.cache_salt,
                released=None if released is None else partial(released, index),
            )
            async with aclosing(answer) as texts:
                try:
                    return await used(index, texts)
                except UpstreamError as error:
                    if failed_by is None:
                        replicas.failed(record, error)
                    failed_by = failed_by or blamed(error)
                    self.metrics.upstream_failures.labels(error.reason).inc()
                    raise
                except Exception:
                    failed_by = failed_by or CUT_OFF_BY_LOGGER
                    raise

        tasks = [asyncio.ensure_future(one(index, record)) for index, record in enumerate(records)]
        self._tasks.update(tasks)
        try:
            results = list(await asyncio.gather(*tasks))
            replicas.answered(records[0])
            return results
        except UpstreamError as error:
            raise upstream_failed(error.reason) from None
        except LOG_FAILURES:
            raise log_unavailable() from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    async def next_tick(self) -> None:
        """Wait for the next tick with the rank of a new request, if there are ticks."""
        await self._tick(next(self._numbers), 0)

    async def _tick(self, number: int, index: int) -> None:
        if self.ticks is not None:
            await self.ticks.next((number, index))

    async def settle(self) -> None:
        """Cut off the answers under way, and wait until they are on record."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
