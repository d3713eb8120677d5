"""Chat templates, rendered as Hugging Face tokenizers do, without transformers (which would bring torch)."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from logger.errors import ModelError
from logger.model_config import read_json
from sampler.errors import WeightwardenError, first_line, printable

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MAX_TEMPLATE_BYTES = 2**20


class TemplateRefusal(WeightwardenError, ValueError):
    """The template refuses the messages; the message is the template's own."""


class _GenerationBlocks(Extension):
    """Templates mark what the assistant generates by {% generation %}; here it is only rendered."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A model's chat template. May be used from any thread."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        """Raises: ModelError, for a template that is not one."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
        try:
            self._template = environment.from_string(template)
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template is malformed: {printable(first_line(error))}") from None
        self._special = dict(special_tokens)

    @classmethod
    def of_folder(cls, folder: Path, override: Path | None = None) -> "ChatTemplate | None":
        """The chat template of a model folder, or None when it has none.

        Args:
            override: a file with another template.

        Raises:
            ModelError: a file that cannot be read, or is malformed.
        """
        path = folder / "tokenizer_config.json"
        config = read_json(path) if path.exists() else {}
        special = {name: _content(config[name]) for name in _SPECIAL if config.get(name)}
        file = override or folder / "chat_template.jinja"
        if override is not None or file.exists():
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise ModelError(f"{file}: cannot be read: {first_line(error)}") from None
        else:
            text = _default(config.get("chat_template"))
        if len(text.encode()) > MAX_TEMPLATE_BYTES:
            raise ModelError(f"{file}: a chat template of more than {MAX_TEMPLATE_BYTES} bytes")
        return cls(text, special) if text else None

    def render(self, messages: Sequence[Mapping[str, Any]], *, variables: Mapping[str, Any] | None = None) -> str:
        """The prompt's text, up to where the assistant's answer begins.

        Args:
            variables: more for the template, such as `enable_thinking`.

        Raises:
            TemplateRefusal: the template refuses these messages, or cannot cope with them.
        """
        given = {**self._special, **(variables or {}), "messages": messages, "add_generation_prompt": True}
        try:
            return self._template.render(tools=None, documents=None, **given)
        except jinja2.TemplateError as error:
            raise TemplateRefusal(f"the chat template refuses these messages: {printable(first_line(error))}") from None
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise TemplateRefusal(
                f"the chat template cannot render these messages: {printable(first_line(error))}"
            ) from None


def _to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _content(token: Any) -> str:
    """A special token, given as text or as an object."""
    return str(token.get("content", "") if isinstance(token, dict) else token)


def _default(templates: Any) -> str:
    """The one template, or the one named default."""
    if isinstance(templates, list):
        named = {one.get("name"): one.get("template") for one in templates if isinstance(one, dict)}
        templates = named.get("default")
    return templates if isinstance(templates, str) else ""
