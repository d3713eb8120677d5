"""Prompts for a provider: token ids, text, or the messages of a chat."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightwarden.errors import WeightwardenError
from weightwarden.sampler.params import TokenId
from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import first_line


class PromptError(WeightwardenError, ValueError):
    """An object or a line holds no prompt; the message names the field."""


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    role: str = Field(min_length=1)
    content: str


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    prompt: str | list[TokenId] | None = Field(default=None, min_length=1)
    prompt_token_ids: list[TokenId] | None = Field(default=None, min_length=1)
    messages: list[_Message] | None = Field(default=None, min_length=1)


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt.

    Attributes:
        token_ids: ids from the trusted tokenizer and chat template, never from the server.
        text: the prompt as text, if given in this form.
        messages: the messages of the chat, if given in this form.
    """

    token_ids: list[int]
    text: str | None = None
    messages: Sequence[dict[str, str]] | None = None

    @classmethod
    def parse(cls, fields: Any, tokenizer: Any) -> "Prompt":
        """The prompt in an object with exactly one of `prompt` (text or token ids), `prompt_token_ids`, `messages`.

        A record of a traffic file is one; its other fields are ignored.

        Raises:
            PromptError: the object holds no prompt, or more than one, or one that cannot be tokenised.
        """
        try:
            given = _Fields.model_validate(fields)
        except ValidationError as error:
            raise PromptError(validation_message(error)) from None
        if sum(part is not None for part in (given.prompt, given.prompt_token_ids, given.messages)) != 1:
            raise PromptError("exactly one of prompt, prompt_token_ids and messages is wanted")
        ids = given.prompt_token_ids or (given.prompt if isinstance(given.prompt, list) else None)
        if ids is not None:
            return cls(token_ids=ids)
        texts = [given.prompt] if isinstance(given.prompt, str) else [m.content for m in given.messages or []]
        if not all(map(is_unicode, texts)):
            raise PromptError("the text is not Unicode")
        if isinstance(given.prompt, str):
            return cls(token_ids=tokenizer.encode(given.prompt, add_special_tokens=True), text=given.prompt)
        messages = [message.model_dump() for message in given.messages or []]
        return cls(token_ids=_rendered(messages, tokenizer), messages=messages)


def _rendered(messages: list[dict[str, str]], tokenizer: Any) -> list[int]:
    """Token ids of a chat, up to the beginning of the answer."""
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template may raise any error
        raise PromptError(f"messages: the model's chat template refuses them: {first_line(error)}") from None
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def is_unicode(text: str) -> bool:
    """True if a text has no lone surrogate, which JSON can hold and no tokenizer accepts."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parse_json(line: bytes) -> Any:
    """One line of JSON.

    Raises:
        PromptError: the line is not JSON.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"not JSON: {first_line(error)}") from None
