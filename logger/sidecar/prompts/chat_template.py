"""Chat templates, rendered like Hugging Face tokenizers, but without transformers (which would import torch)."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from weightwarden.errors import WeightwardenError
from weightwarden.logger.errors import ModelError
from weightwarden.logger.sidecar.prompts.content_format import takes_parts
from weightwarden.logger.sidecar.prompts.conversation import Message, conversation_of, without_developer
from weightwarden.text import first_line, printable

_OPEN_END = "CONTINUE_FINAL_MESSAGE_TAG "
"""Placeholder for the end of a message that is to be continued, during rendering."""


class TemplateRefusal(WeightwardenError, ValueError):
    """A refusal of the messages by the template, with the template's own message."""


class _GenerationBlocks(Extension):
    """Jinja extension for {% generation %}, which marks the assistant's text. Here the block is only rendered.

    The block is a scope, as in transformers: variables set in it end with it.
    """

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_generated"), [], [], body).set_lineno(line)

    def _generated(self, caller: Callable[[], str]) -> str:
        return caller()


class ChatTemplate:
    """A model's chat template. It may be used from any thread.

    Attributes:
        variables: names that the template reads, without those that it sets itself.
    """

    def __init__(self, template: str, special_tokens: Mapping[str, str], path: Path | None = None) -> None:
        """A compiled template.

        Args:
            template: the template's text.
            special_tokens: texts of special tokens, by name.
            path: file that holds the template, for messages.

        Raises:
            ModelError: the text is no template.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template = environment.from_string(template)
            tree = environment.parse(template)
        except (jinja2.TemplateError, SyntaxError, RecursionError) as error:
            place = "the chat template" if path is None else f"{path}: the chat template"
            raise ModelError(f"{place} is malformed: {printable(first_line(error))}") from None
        self._parts = takes_parts(tree)
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        self._knows_developer = '"developer"' in template or "'developer'" in template
        self._reads_content = "content" in template
        self._special = dict(special_tokens)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt's text.

        Args:
            messages: the chat's messages.
            tools: the tools that the model may call, or None.
            documents: texts for templates that take them, or None.
            variables: further variables of the template, for example `enable_thinking`.
            continue_final_message: True: the answer continues the last message, whose end is left open.
            add_generation_prompt: True: the text ends with the beginning of the assistant's next message. Excludes
                `continue_final_message`.

        Raises:
            TemplateRefusal: the template refuses these messages, or fails on them.
        """
        conversation = conversation_of(messages, parts=self._parts)
        if not self._knows_developer and any(message["role"] == "developer" for message in conversation):
            conversation = without_developer(conversation)
        last = self._left_open(conversation) if continue_final_message else ""
        given = {
            **self._special,
            **(variables or {}),
            "messages": conversation,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text = self._template.render(tools=tools, documents=documents, **given)
        except jinja2.TemplateError as error:
            raise TemplateRefusal(f"the chat template refuses these messages: {printable(first_line(error))}") from None
        except Exception as error:  # a template is a program: it can raise any exception on unexpected messages
            raise TemplateRefusal(
                f"the chat template cannot render these messages: {printable(first_line(error))}"
            ) from None
        return _cut(text, last) if continue_final_message else text

    def _left_open(self, conversation: list[dict[str, Any]]) -> str:
        """The text of the last message, whose end is now marked."""
        content = conversation[-1]["content"]
        if not self._reads_content or content == []:
            raise TemplateRefusal("the last message has no content that the chat template could leave open")
        conversation[-1] = message = deepcopy(conversation[-1])
        if isinstance(content, str):
            message["content"] += _OPEN_END
            return content
        last: str = message["content"][-1]["text"]
        message["content"][-1]["text"] += _OPEN_END
        return last


def _cut(text: str, last: str) -> str:
    """The rendered text up to the end of the message that is to be continued."""
    mark = _OPEN_END.strip()
    if last.strip() not in text or mark not in text:
        raise TemplateRefusal("the chat template leaves out, or changes, the message that is to be continued")
    end = text.rindex(mark)
    kept = text[:end]
    return kept if text.startswith(_OPEN_END, end) else kept.rstrip()  # the template trims its messages


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON filter without Jinja's HTML escapes. Parameters, their order and defaults are those of transformers."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
