"""The fields by which clients ask for structured output: OpenAI's `response_format` and vLLM's `structured_outputs`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS
from weightwarden.logger.sidecar.wire.strict_fields import Few, Strict, one_of

_KINDS = ("json", "regex", "choice", "grammar", "json_object")
_NOT_SERVED = ("structural_tag", "whitespace_pattern", "disable_any_whitespace", "disable_additional_properties")
_GrammarText = Annotated[str, Field(min_length=1, max_length=MAX_GRAMMAR_CHARACTERS)]


class JsonSchemaFormat(Strict):
    """A JSON schema with a name. The schema is always enforced, whatever `strict` says."""

    name: Annotated[str, Field(max_length=256)] | None = None
    description: str | None = None
    json_schema: dict[str, JsonValue] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    """The format of an answer's content."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise PydanticCustomError("schema", "missing", {"at": "json_schema"})
        return self


class StructuredOutputs(Strict):
    """vLLM's constraint of an answer: exactly one of a JSON schema, a regular expression, texts, or a grammar."""

    json_schema: Annotated[
        _GrammarText | dict[str, JsonValue] | None, one_of("a JSON schema as an object, or as text")
    ] = Field(default=None, alias="json")
    regex: _GrammarText | None = None
    choice: Annotated[Few[str], Field(min_length=1)] | None = None
    grammar: _GrammarText | None = None
    json_object: bool | None = None
    disable_fallback: bool | None = Field(default=None, description="Accepted, and without effect.")

    @model_validator(mode="before")
    @classmethod
    def _one_constraint(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for field in _NOT_SERVED:
            if value.get(field) not in (None, False):
                raise PydanticCustomError("not_served", "not served", {"at": field})
        said = [field for field in _KINDS if value.get(field) not in (None, False)]
        if len(said) != 1:
            raise PydanticCustomError(
                "one_constraint", "exactly one of {kinds} is wanted", {"kinds": ", ".join(_KINDS)}
            )
        return {field: item for field, item in value.items() if field not in _NOT_SERVED}
