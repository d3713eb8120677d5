"""Tools, calls of tools and choices among them, in the form of OpenAI's chat API."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.wire.strict_fields import Integer, Strict

MAX_TOOLS = 128
MAX_CALLS = 128
"""Largest number of calls in one message."""
_ALLOWED = "allowed_tools is not served: send the allowed ones as tools, with tool_choice auto or required"

FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
"""Name of a function. Every family writes such a name as it is."""


class Function(Strict):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = Field(default=None, description="JSON schema of the arguments.")
    strict: bool | None = Field(
        default=None, description="True: the arguments follow the schema. False: any object. Null: see docs/sidecar.md."
    )


class Tool(Strict):
    """A tool: a function. Other types are refused by name."""

    type: Literal["function"] = "function"
    function: Function
    cache_control: JsonValue = Field(default=None, description="Accepted, and without effect.")

    @model_validator(mode="before")
    @classmethod
    def _is_a_function(cls, value: Any) -> Any:
        return only_functions(value)

    def given(self) -> dict[str, Any]:
        """The tool for templates, with the fields and their order of vLLM: all but an absent `strict`."""
        function = self.function.model_dump()
        if self.function.strict is None:
            del function["strict"]
        return {"type": self.type, "function": function}


class CalledFunction(Strict):
    """A called function. `arguments` is JSON text."""

    arguments: str
    name: Annotated[str, Field(min_length=1, max_length=256)]


class ToolCall(Strict):
    """A call in an assistant's message. The order of fields is that in which vLLM gives them to templates."""

    id: Annotated[str, Field(max_length=256)]
    function: CalledFunction
    type: Literal["function"] = "function"
    index: Integer | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_function(cls, value: Any) -> Any:
        return only_functions(value)

    def given(self) -> Mapping[str, Any]:
        """The call for templates."""
        return self.model_dump(exclude={"index"} if self.index is None else None)


class NamedFunction(Strict):
    """The function of a named choice."""

    name: FunctionName


class NamedTool(Strict):
    """The choice of one function."""

    type: Literal["function"]
    function: NamedFunction


def only_functions(value: Any) -> Any:
    """Refuse a type other than `function` by its name."""
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        raise PydanticCustomError("tool", _ALLOWED)
    kind = value.get("type", "function") if isinstance(value, dict) else "function"
    if isinstance(kind, str) and kind != "function":
        raise PydanticCustomError("tool", "type {kind} is not served, only function", {"kind": ascii(kind[:64])})
    return value
