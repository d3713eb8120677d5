"""Answers that are sent whole: their text, and what the trusted side adds to it (prompt text, log probabilities)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.answer import DurableText, FinishedChoice
from weightwarden.logger.sidecar.choice_reading import ChoiceReading
from weightwarden.logger.sidecar.logprobs.scored_token import ScoredToken
from weightwarden.logger.sidecar.logprobs.trusted_server import TrustedServer
from weightwarden.logger.sidecar.reading.parts import AnswerPart
from weightwarden.logger.sidecar.wire.answer_form import Choice, ChoiceEnd, Head, collected
from weightwarden.logger.sidecar.wire.logprobs import ChoiceLogprobs, text_and_offsets
from weightwarden.logger.sidecar.wire.requests import GenerationRequest
from weightwarden.logger.text.detokenizer import Detokenizer
from weightwarden.logger.text.tokenizer import ModelTokenizer

_NOTHING_DRAWN = ChoiceEnd(
    finish_reason="length", stop_reason=None, calls=0, tokens=0, reasoning_tokens=0, record_index=None
)


@dataclass(frozen=True, kw_only=True)
class WholeAnswer:
    """A choice as its tokens make it.

    Attributes:
        choice: the choice.
        prompt: token ids of its prompt.
        ids: token ids of the answer.
        pieces: their text, one piece a token.
        adapter: name of the adapter that answered, or None.
    """

    choice: Choice
    prompt: Sequence[int]
    ids: Sequence[int]
    pieces: Sequence[str]
    adapter: str | None = None


async def whole_answer(
    index: int,
    texts: AsyncIterator[DurableText],
    asked: GenerationRequest,
    record: Record,
    head: Head,
    *,
    sends_record_index: bool,
) -> WholeAnswer:
    """The answer in these texts, once its end is there.

    Args:
        index: index of the choice.
        texts: its durable text.
        asked: the request.
        record: the choice's record, without tokens.
        head: beginning of the response.
        sends_record_index: whether the client is given the index of the record.
    """
    reading = ChoiceReading(asked.reader)
    parts: list[AnswerPart] = []
    pieces: list[str] = []
    end: FinishedChoice | None = None
    async for text in texts:
        parts += reading.parts(text.pieces)
        pieces += text.pieces
        if text.end is not None:
            end = text.end
            parts += reading.rest(end.rest)
            break
    assert end is not None
    told = reading.choice_end(end.ending, end.tokens, end.record_index if sends_record_index else None)
    return WholeAnswer(
        choice=collected(index, parts, told, head),
        prompt=record.prompt_token_ids,
        ids=end.ids,
        pieces=pieces,
        adapter=None if asked.adapter is None else asked.adapter.name,
    )


def undrawn_answers(asked: GenerationRequest, head: Head) -> list[WholeAnswer]:
    """The choices of a request for which no token is drawn."""
    prompts = [prompt for prompt in asked.prompts for _ in range(asked.choices)]
    adapter = None if asked.adapter is None else asked.adapter.name
    return [
        WholeAnswer(
            choice=collected(index, [], _NOTHING_DRAWN, head), prompt=prompt, ids=[], pieces=[], adapter=adapter
        )
        for index, prompt in enumerate(prompts)
    ]


@dataclass(frozen=True)
class WholeBodies:
    """Maker of the bodies of whole answers.

    Attributes:
        tokenizer: the served model's tokenizer.
        trusted: server of log probabilities, or None where no request asks for any.
    """

    tokenizer: ModelTokenizer
    trusted: TrustedServer | None = None

    async def of(self, asked: GenerationRequest, head: Head, answers: Sequence[WholeAnswer]) -> bytes:
        """The body of the response with these choices.

        Raises:
            ApiError: the trusted server failed.
        """
        form = asked.form(head)
        if asked.logprobs is None and not asked.echo:
            return form.whole([answer.choice for answer in answers])
        scored = await asyncio.gather(*(self._scored(asked, answer) for answer in answers))
        return await asyncio.to_thread(
            lambda: form.whole([self._choice(asked, *one) for one in zip(answers, scored, strict=True)])
        )

    async def _scored(self, asked: GenerationRequest, answer: WholeAnswer) -> list[ScoredToken] | None:
        """The tokens of an answer with their log probabilities, after those of its prompt if they are wanted."""
        wanted = asked.logprobs
        if wanted is None:
            return None
        assert self.trusted is not None
        return await self.trusted.score(
            [*answer.prompt, *answer.ids],
            top=wanted.top,
            first=0 if wanted.prompt else len(answer.prompt),
            adapter=answer.adapter,
        )

    def _choice(self, asked: GenerationRequest, answer: WholeAnswer, scored: list[ScoredToken] | None) -> Choice:
        before, offsets = "", list[int]()
        if asked.echo:
            shown = Detokenizer(self.tokenizer.table, skip_special=asked.sampling.skip_special_tokens)
            before, offsets = text_and_offsets([*map(shown.add, answer.prompt)], shown.end())
        offsets += text_and_offsets(answer.pieces, start=len(before))[1]
        logprobs = None
        if scored is not None:
            logprobs = ChoiceLogprobs(tokens=scored, offsets=offsets, tokenizer=self.tokenizer)
        return replace(answer.choice, text=before + answer.choice.text, logprobs=logprobs)
