"""Tools, tool choice and text format of a Responses request, strictly parsed, in their own form and as a chat's."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, Tag, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.refused_fields import Refused, without_nulls, without_refused
from weightwarden.logger.sidecar.wire.strict_fields import Strict
from weightwarden.logger.sidecar.wire.tagged_unions import by_type, only
from weightwarden.logger.sidecar.wire.tools import FunctionName
from weightwarden.text import printable

_REFUSED: Mapping[str, Refused] = {
    "allowed_callers": Refused("only the model calls functions", (["direct"],)),
    "async": Refused("calls end an answer", (False,)),
    "defer_loading": Refused("every tool is in the prompt", (False,)),
}


class FunctionTool(Strict):
    """A function that the model may call."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None
    output_schema: JsonValue = unread()

    @model_validator(mode="before")
    @classmethod
    def _drop_refused(cls, value: Any) -> Any:
        return without_refused(value, _REFUSED)

    def chat(self) -> dict[str, Any]:
        """The tool in a chat's form."""
        function = {field: getattr(self, field) for field in ("name", "description", "parameters", "strict")}
        return {"type": "function", "function": without_nulls(function)}

    def repeated(self) -> dict[str, Any]:
        """The tool as the response repeats it."""
        fields = ("type", "name", "description", "parameters", "strict")
        return {field: getattr(self, field) for field in fields}


Tool = Annotated[FunctionTool, only(("function",))]


class ChosenFunction(Strict):
    """The choice of one function."""

    type: Literal["function"]
    name: FunctionName


Choice = Literal["none", "auto", "required"]


def _known_choice(value: Any) -> Any:
    if isinstance(value, str) and value not in get_args(Choice):
        what = {"what": printable(value), "served": ", ".join(get_args(Choice))}
        raise PydanticCustomError("not_served", "{what} is not served, only {served}", what)
    return value


def _choice_tag(value: Any) -> str:
    return "<text>" if isinstance(value, str) else "<function>"


ToolChoice = Annotated[
    Annotated[Choice, Tag("<text>")] | Annotated[ChosenFunction, only(("function",)), Tag("<function>")],
    Discriminator(_choice_tag),
    BeforeValidator(_known_choice),
]


class TextFormat(Strict):
    """Free text, or any JSON object."""

    type: Literal["text", "json_object"]


class NamedSchemaFormat(Strict):
    """JSON of a schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    json_schema: dict[str, JsonValue] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


Format = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[TextFormat, Tag("<json_object>")]
    | Annotated[NamedSchemaFormat, Tag("<json_schema>")],
    by_type(),
    only(("text", "json_object", "json_schema")),
]


class TextOptions(Strict):
    """Options of the answer's text."""

    format: Format | None = None
    verbosity: JsonValue = unread()

    def chat(self) -> dict[str, Any] | None:
        """The format in a chat's form, or None for free text."""
        match self.format:
            case NamedSchemaFormat() as wanted:
                given = {"name": wanted.name, "description": wanted.description, "strict": wanted.strict}
                return {"type": "json_schema", "json_schema": without_nulls(given) | {"schema": wanted.json_schema}}
            case TextFormat(type="json_object"):
                return {"type": "json_object"}
        return None

    def repeated(self) -> dict[str, Any]:
        """The format as the response repeats it."""
        wanted = self.format or TextFormat(type="text")
        return {("schema" if key == "json_schema" else key): value for key, value in wanted}
