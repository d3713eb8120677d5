"""Chat templates, rendered as Hugging Face tokenizers do, without transformers (which would bring torch)."""

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
"""Stands for the end of a message that is to be continued, while the template is rendered."""


class TemplateRefusal(WeightwardenError, ValueError):
    """The template refuses the messages; the message is the template's own."""


class _GenerationBlocks(Extension):
    """Templates mark what the assistant generates by {% generation %}; here it is only rendered.

    The block is a scope of its own, as in transformers: what is set in it does not last beyond it.
    """

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_generated"), [], [], body).set_lineno(line)

    def _generated(self, caller: Callable[[], str]) -> str:
        return caller()


class ChatTemplate:
    """A model's chat template. May be used from any thread.

    Attributes:
        variables: the names that the template reads, besides those that it sets itself.
    """

    def __init__(self, template: str, special_tokens: Mapping[str, str], path: Path | None = None) -> None:
        """Args: path, the file that holds the template. Raises: ModelError, for a template that is not one."""
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
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt's text.

        Args:
            variables: more for the template, such as `enable_thinking`.
            continue_final_message: whether the answer goes on from the last message, whose end is left open.
            add_generation_prompt: whether the text ends where the assistant's next message begins; not together with
                `continue_final_message`.

        Raises:
            TemplateRefusal: the template refuses these messages, or cannot cope with them.
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
            text = self._template.render(tools=None, documents=None, **given)
        except jinja2.TemplateError as error:
            raise TemplateRefusal(f"the chat template refuses these messages: {printable(first_line(error))}") from None
        except Exception as error:  # a template is a program: it can raise anything on messages that it does not expect
            raise TemplateRefusal(
                f"the chat template cannot render these messages: {printable(first_line(error))}"
            ) from None
        return _cut(text, last) if continue_final_message else text

    def _left_open(self, conversation: list[dict[str, Any]]) -> str:
        """Mark the end of the last message's text, which is returned."""
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
    """What was rendered, up to the end of the message that is to be continued."""
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
    """Jinja's own filter escapes HTML; parameters, their order and their defaults are those of transformers'."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
