"""Arguments that a model writes one by one between markers, by the schema of its function: text as it is, or JSON.

The parameters stand in the schema's order. Readers take the text of a parameter whose schema admits strings as a
string, unless it is JSON of another admitted type (`reading.tools`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightwarden.logger.sidecar.constraints.lark import Lark, quoted
from weightwarden.logger.sidecar.constraints.schemas import members, properties_of, required_of, standalone
from weightwarden.logger.sidecar.errors import invalid

_NAME = re.compile(r"[^<>\"\s]{1,256}")
_ANY_NAME = "[A-Za-z0-9_.-]{1,64}"
_UNENFORCED = ("pattern", "format", "minLength", "maxLength", "allOf", "not")
"""Keywords of strings that a text between markers is not checked against."""
_PLAIN = ("null", "boolean", "integer", "number")


@dataclass(frozen=True)
class ParameterForm:
    """The form of one argument: text before its name, between name and value, and after the value.

    Attributes:
        begin: text before the name.
        text: text before a value that is text.
        json: text before a value that is JSON.
        end: text that ends the value.
        stop: the part of it that no value holds.
        after: text after it.
    """

    begin: str
    text: str
    json: str
    end: str
    stop: str
    after: str

    def text_value(self, lark: Lark) -> str:
        """The expression of a value that is any text, with what follows it."""
        value = lark.until(self.end, once=self.stop)
        return f"{value} {lark.literal(self.after)}" if self.after else value

    def value(self, lark: Lark, expression: str) -> str:
        """The expression of a value, with what follows it."""
        return f"{expression} {lark.literal(self.end + self.after)}"


def parameters(lark: Lark, form: ParameterForm, schema: Mapping[str, Any], *, strict: bool, field: str) -> str:
    """The expression of a function's arguments, perhaps empty.

    Args:
        lark: the grammar.
        form: the form of an argument.
        schema: schema of the arguments.
        strict: True: what cannot be enforced is refused.
        field: the field of the schema, for messages.

    Raises:
        ApiError: the schema cannot be followed in this form.
    """
    properties, required = properties_of(schema, field), required_of(schema)
    if not properties:
        if schema.get("additionalProperties") is False:
            return ""
        return f"{lark.rule(' '.join(_any_argument(lark, form)))}*"
    found = []
    for name, one in properties.items():
        at = f"{field}.properties.{name[:64]}"
        if not _NAME.fullmatch(name):
            raise invalid("a name that this model's form of calls cannot hold", at)
        values = _values(lark, form, one, schema, strict=strict, field=at)
        written = [
            f"{lark.literal(form.begin)} {quoted(name)} {lark.literal(between)} {value}" for between, value in values
        ]
        found.append(lark.rule(lark.alternatives(written)) + ("" if name in required else "?"))
    return " ".join(found)


def _any_argument(lark: Lark, form: ParameterForm) -> Sequence[str]:
    """The expressions of an argument of any name, as text."""
    return (lark.literal(form.begin), lark.matching(_ANY_NAME), lark.literal(form.text), form.text_value(lark))


def _values(
    lark: Lark, form: ParameterForm, schema: Mapping[str, Any], root: Mapping[str, Any], *, strict: bool, field: str
) -> list[tuple[str, str]]:
    """The values of an argument: the text before each, and the expression of the value with the text after it."""
    options = members(schema, root)
    texts = [one for one in options if _is_text(one)]
    others = [one for one in options if not _is_text(one)]

    def as_json() -> tuple[str, str]:
        return form.json, form.value(lark, lark.json(standalone(schema, root, lenient=not strict)))

    if not texts:
        return [as_json()]
    if strict and any(key in one for one in (schema, *texts) for key in _UNENFORCED):
        raise invalid("constrains a text in a way that this model's form of calls cannot enforce", field)
    if others and form.json == form.text:
        plain = all(one.get("type") in _PLAIN and not one.keys() - {"type", "title", "description"} for one in others)
        if strict and not plain:
            raise invalid("a text or another value, which this model's form of calls cannot tell apart", field)
        return [(form.text, form.text_value(lark))]
    choices = [value for one in texts for value in _choices(one) or [None]]
    if None in choices:
        as_text = form.text_value(lark)
    else:
        if any(form.stop in value for value in choices):
            raise invalid("a text that this model's form of calls cannot hold", field)
        as_text = form.value(lark, lark.alternatives(list(map(quoted, choices))))
    return [(form.text, as_text), *([as_json()] if others else [])]


def _is_text(schema: Mapping[str, Any]) -> bool:
    """True if the values of a schema with at most one type are strings, or if it says nothing about them."""
    choices = _choices(schema)
    if "type" in schema:
        return bool(schema["type"] == "string")
    return all(isinstance(one, str) for one in choices)


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    """The only values of a schema; none if it does not list them."""
    if "const" in schema:
        return [schema["const"]]
    enum = schema.get("enum")
    return enum if isinstance(enum, list) else []
