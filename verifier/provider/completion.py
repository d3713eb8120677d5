"""An answer of an OpenAI-compatible server: its text, and its token ids if the server reports them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field, ValidationError

from weightwarden.text import printable
from weightwarden.verifier.errors import UnusableAnswer
from weightwarden.verifier.http_client import PartialModel
from weightwarden.verifier.provider.prompt import Prompt, is_unicode

_TOKEN_ID = re.compile(r"token_id:(\d{1,10})")
"""Prefix of vLLM's names of tokens in logprobs (`return_tokens_as_token_ids`)."""


class AnswerTokenizer(Protocol):
    """Converter between an answer's text and token ids (`ModelTokenizer`)."""

    def encode_answer(self, text: str) -> list[int]: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, prompt: Sequence[int]) -> str: ...


class _ChatToken(PartialModel):
    token: str
    id: int | None = None  # llama.cpp's


class _Logprobs(PartialModel):
    tokens: list[str] | None = None
    content: list[_ChatToken] | None = None


class _Message(PartialModel):
    content: str | None = None


class _Choice(PartialModel):
    text: str | None = None
    message: _Message | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Usage(PartialModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(PartialModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Contents of a server's answer, unchecked.

    Attributes:
        token_ids: output token ids that the server reports, or None.
        prompt_token_ids: prompt token ids that the server reports, or None.
        output_tokens: the server's count of output tokens; servers differ in whether an end-of-sequence token counts.
        prompt_tokens: the server's count of prompt tokens.
        finish_reason: OpenAI's field.
        stop_reason: vLLM's field.
    """

    text: str
    token_ids: list[int] | None
    prompt_token_ids: list[int] | None
    output_tokens: int | None
    prompt_tokens: int | None
    finish_reason: str | None
    stop_reason: int | str | None

    @classmethod
    def parse(cls, content: Any) -> "Completion":
        """The first choice of a completion, or chat completion, as JSON.

        Raises:
            UnusableAnswer: the JSON is neither.
        """
        try:
            completion = _Completion.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = printable(".".join(map(str, first["loc"])))
            raise UnusableAnswer(f"not a completion: {field}: {first['msg']}") from None
        choice, usage = completion.choices[0], completion.usage or _Usage()
        text = choice.text if choice.message is None else choice.message.content
        return cls(
            text=text or "",
            token_ids=_named_by_id(choice.logprobs) if choice.token_ids is None else choice.token_ids,
            prompt_token_ids=completion.prompt_token_ids or choice.prompt_token_ids,
            output_tokens=usage.completion_tokens,
            prompt_tokens=usage.prompt_tokens,
            finish_reason=choice.finish_reason,
            stop_reason=choice.stop_reason,
        )


@dataclass(frozen=True)
class OutputTokens:
    """Output token ids, and whether they are the server's own or re-tokenised from its text."""

    token_ids: list[int]
    retokenised: bool


def check_prompt(answer: Completion, question: Prompt) -> None:
    """Check the token ids of the server's prompt, or their number, against ours, as far as the server reports them.

    Raises:
        UnusableAnswer: the server's prompt differs from ours.
    """
    if answer.prompt_token_ids not in (None, question.token_ids):
        raise UnusableAnswer("the server's prompt has other token ids than the model here makes of it")
    if answer.prompt_tokens not in (None, len(question.token_ids)):
        raise UnusableAnswer(
            f"the server counts {answer.prompt_tokens} tokens of prompt, and the model here makes"
            f" {len(question.token_ids)}: another chat template or tokenizer"
        )


def output_tokens(
    answer: Completion, tokenizer: AnswerTokenizer, prompt: Sequence[int], end_id: int | None
) -> OutputTokens:
    """The answer's token ids; if the server does not report them, its re-tokenised text.

    A text does not show an end-of-sequence token. If the server reports that the answer stopped by itself, `end_id` is
    added, so that the replay checks whether the model would have ended there.

    Args:
        prompt: token ids before the answer, so that its text keeps a leading space.
        end_id: the model's end-of-sequence token.

    Raises:
        UnusableAnswer: the text differs from that of the ids, or the number of tokens from the server's count.
    """
    if answer.token_ids is not None:
        told = len(answer.token_ids)
        if answer.output_tokens not in (None, told):  # llama.cpp's logprobs omit parts of characters
            raise UnusableAnswer(f"the server counts {answer.output_tokens} tokens and tells the ids of {told}")
        return OutputTokens(answer.token_ids, retokenised=False)
    if not is_unicode(answer.text):
        raise UnusableAnswer("the text is not Unicode")
    ids = tokenizer.encode_answer(answer.text)
    if tokenizer.decode(ids, skip_special_tokens=False, prompt=prompt) != answer.text:
        raise UnusableAnswer("the text, re-tokenised, is not the same text")
    ended = answer.finish_reason == "stop" and answer.stop_reason is None
    if answer.output_tokens is not None and answer.output_tokens not in {len(ids), len(ids) + ended}:
        raise UnusableAnswer(f"the server counts {answer.output_tokens} tokens, and its text is {len(ids)} here")
    return OutputTokens([*ids, end_id] if ended and end_id is not None else ids, retokenised=True)


def eos_token(tokenizer: Any, eos_ids: Sequence[int]) -> int | None:
    """The token that ends an answer: the tokenizer's own, if it is one of the model's."""
    own = getattr(tokenizer, "eos_token_id", None)
    return own if own in eos_ids else next(iter(eos_ids), None)


def _named_by_id(logprobs: _Logprobs | None) -> list[int] | None:
    """Token ids by which logprobs name the tokens, or None if they hold only text."""
    if logprobs is None:
        return None
    tokens = logprobs.content or []
    numbers = [token.id for token in tokens if token.id is not None]
    if tokens and len(numbers) == len(tokens):
        return numbers
    names = logprobs.tokens if logprobs.content is None else [token.token for token in tokens]
    found = [_TOKEN_ID.fullmatch(name) for name in names or []]
    return [int(name[1]) for name in found if name] if found and all(found) else None
