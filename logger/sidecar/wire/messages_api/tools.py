"""Tools and tool choice of a Messages request, strictly parsed, in their own form and as a chat's."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import JsonValue, Tag, model_validator

from weightwarden.logger.sidecar.wire.effectless_fields import unread
from weightwarden.logger.sidecar.wire.refused_fields import Refused, without_nulls, without_refused
from weightwarden.logger.sidecar.wire.strict_fields import Strict
from weightwarden.logger.sidecar.wire.tagged_unions import by_type, only
from weightwarden.logger.sidecar.wire.tools import FunctionName

_REFUSED: Mapping[str, Refused] = {
    "allowed_callers": Refused("only the model calls tools", (["direct"],)),
    "defer_loading": Refused("every tool is in the prompt", (False,)),
    "input_examples": Refused("no template shows them; put them into the description", ([],)),
}


class CustomTool(Strict):
    """A tool of the client's."""

    type: Literal["custom"] | None = None
    name: FunctionName
    description: str | None = None
    input_schema: dict[str, JsonValue]
    strict: bool | None = None
    cache_control: JsonValue = unread()
    eager_input_streaming: JsonValue = unread()

    @model_validator(mode="before")
    @classmethod
    def _drop_refused(cls, value: Any) -> Any:
        return without_refused(value, _REFUSED)

    def chat(self) -> dict[str, Any]:
        """The tool in a chat's form. A schema without a type is that of an object."""
        schema = self.input_schema if "type" in self.input_schema else {"type": "object", **self.input_schema}
        function = {"name": self.name, "description": self.description, "strict": self.strict}
        return {"type": "function", "function": {**without_nulls(function), "parameters": schema}}


Tool = Annotated[CustomTool, only(("custom",), "custom")]


class AnyChoice(Strict):
    """The choice that the model has."""

    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: bool | None = None

    def chat(self) -> Any:
        """The choice in a chat's form."""
        return "required" if self.type == "any" else self.type


class NamedChoice(Strict):
    """The choice of one tool."""

    type: Literal["tool"]
    name: FunctionName
    disable_parallel_tool_use: bool | None = None

    def chat(self) -> Any:
        """The choice in a chat's form."""
        return {"type": "function", "function": {"name": self.name}}


ToolChoice = Annotated[
    Annotated[AnyChoice, Tag("<auto>")]
    | Annotated[AnyChoice, Tag("<any>")]
    | Annotated[AnyChoice, Tag("<none>")]
    | Annotated[NamedChoice, Tag("<tool>")],
    by_type(),
    only(("auto", "any", "tool", "none")),
]
