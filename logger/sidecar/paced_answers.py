"""Answers that leave at a pace: handed over to the gate group by group, and the releases that the gate reports."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from weightwarden.logger.record import Record
from weightwarden.logger.release import Pace, Release, slot_seconds
from weightwarden.logger.sidecar.answer import DurableText
from weightwarden.logger.sidecar.choice_reading import ChoiceReading
from weightwarden.logger.sidecar.errors import ApiError, UpstreamError, log_unavailable, upstream_failed
from weightwarden.logger.sidecar.log.recorder import LOG_FAILURES
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.response import Response
from weightwarden.logger.sidecar.whole_answers import WholeAnswer, WholeBodies, whole_answer
from weightwarden.logger.sidecar.wire.answer_form import ChoiceEnd, Head
from weightwarden.logger.sidecar.wire.requests import GenerationRequest


class PacedAnswers:
    """The answers to one request. Their groups are handed over as their tokens become durable."""

    def __init__(
        self,
        asked: GenerationRequest,
        records: Sequence[Record],
        head: Head,
        response: Response,
        pace: Pace,
        metrics: Metrics,
        bodies: WholeBodies,
    ) -> None:
        assert response.gate is not None
        self._asked, self._head, self._response, self._pace = asked, head, response, pace
        self._metrics, self._records, self._bodies = metrics, records, bodies
        self._form = asked.form(head)
        self._gate = response.gate
        self._report = response.gate.report()  # of this response: the connection's next request has another
        self._ends: list[ChoiceEnd | None] = [None] * len(records)
        self._answers: list[WholeAnswer | None] = [None] * len(records)
        self._writing = asyncio.Lock()
        self._told: ApiError | None = None

    @property
    def complete(self) -> bool:
        """True once the whole response has left."""
        report = self._report.result() if self._report.done() else None
        return self._told is None and report is not None and bool(report["complete"])

    async def streamed(self, index: int, texts: AsyncIterator[DurableText]) -> ChoiceEnd:
        """Hand over a choice group by group, and return its end once the answer has left.

        A group is handed over when its last token is durable. If the answer ends with it, the end goes with it.
        """
        reading = ChoiceReading(self._asked.reader)
        events, tokens, group = list(self._form.begin(index)), 0, 0
        end: ChoiceEnd | None = None
        async for text in texts:
            self._response.output_tokens += len(text.pieces)
            at = 0
            while at < len(text.pieces):
                taken = text.pieces[at : at + self._pace.last_token(group) + 1 - tokens]
                events += reading.events(self._form, index, taken)
                at, tokens = at + len(taken), tokens + len(taken)
                if tokens > self._pace.last_token(group) and not (text.ends and at == len(text.pieces)):
                    await self._hand_over(index, events)
                    events, group = [], group + 1
            if text.end is not None:
                last, rest = reading.last_events(self._form, index, text.end.rest)
                end = self._ends[index] = reading.choice_end(text.end.ending, text.end.tokens, None)
                await self._hand_over(index, [*events, *last, *self._form.end(index, rest, end)], last=True)
        assert end is not None
        return end

    async def _hand_over(self, index: int, events: Sequence[bytes], *, last: bool = False) -> None:
        async with self._writing:
            if self._told is not None:
                raise UpstreamError("another choice failed")
            self._begin()
            await self._response.write_event(b"".join(events), (index, last))
            ends = [end for end in self._ends if end is not None]
            if last and len(ends) == len(self._ends):
                for event in self._form.close(ends):
                    await self._response.write_event(event)
                await self._response.close()

    def _begin(self) -> None:
        if not self._response.begun:
            self._response.begun, self._response.status = True, 200
            self._gate.begin(len(self._ends))

    async def whole(self, index: int, texts: AsyncIterator[DurableText]) -> WholeAnswer:
        """A choice, once the whole answer has left. The last choice that is complete hands over all of them."""
        record = self._records[index]
        answer = await whole_answer(index, texts, self._asked, record, self._head, sends_record_index=False)
        self._answers[index] = answer
        answers = [one for one in self._answers if one is not None]
        if len(answers) == len(self._answers) and self._told is None:
            await self._hand_over_whole(answers)
        async for _ in texts:  # the record is made once the answer has left
            raise AssertionError("no text after the end")
        return answer

    async def _hand_over_whole(self, answers: Sequence[WholeAnswer]) -> None:
        response = self._response
        try:
            body = await self._bodies.of(self._asked, self._head, answers)
        except ApiError as error:
            response.reason = error.reason
            await self._tell(error)
            return
        response.output_tokens = sum(len(answer.ids) for answer in answers)
        response.begun, response.status = True, 200
        await response.write_body(200, body)

    async def released(self, index: int, failure: BaseException | None) -> Release:
        """The release of a choice.

        1. If the answer failed, tell the client so, on a moment of the gate's.
        2. Wait until the response has left, or its client is gone. If the answer was cut off for another reason, do not
           wait: the release is unknown, unless the gate has reported already.
        """
        # 1
        if isinstance(failure, UpstreamError):
            await self._tell(upstream_failed(failure.reason))
        elif isinstance(failure, LOG_FAILURES):
            await self._tell(log_unavailable())
        # 2
        if failure is None or self._told is not None:
            await asyncio.shield(self._report)
        report = self._report.result() if self._report.done() else None
        unknown = Release(pace=self._pace, streamed=self._asked.stream)
        return unknown if report is None else self._release(report, index)

    def _release(self, report: dict[str, Any], index: int) -> Release:
        schedule = report["schedules"][index if report["streamed"] else 0]
        slot = schedule["start_slot"]
        if slot is not None and index == 0 and self._asked.stream:
            self._metrics.first_token_seconds.observe(slot_seconds(slot))
        return Release(pace=self._pace, streamed=report["streamed"], start_slot=slot, underruns=schedule["underruns"])

    async def _tell(self, error: ApiError) -> None:
        """Tell the client of a failure, once. Choices that were not complete end there."""
        if self._told is not None or self._response.handed_over:
            return
        self._told = error
        response = self._response
        async with self._writing:
            if not response.begun:
                response.begun, response.status = True, error.status
                await response.write_error(error)
                return
            for index, end in enumerate(self._ends):
                if end is None:
                    await response.write_event(b"", (index, True))
            for event in self._form.error(error):
                await response.write_event(event)
            await response.close()
