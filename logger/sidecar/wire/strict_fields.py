"""Strict parsing that all parts of a client's request share: understood, or refused with one sentence."""

from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.errors import invalid

MAX_FIELDS = 128


def one_of(what: str) -> WrapValidator:
    """Says what a union wants in one sentence, not what each of its members misses."""

    def validate(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise PydanticCustomError("one_of", "{what} is wanted", {"what": what}) from None

    return WrapValidator(validate)


class _FirstErrorOnly(FailFast):
    """A list's validation ends at its first error: with millions of items, millions of errors would be made."""

    __hash__ = object.__hash__  # members of a union are hashed


Item = TypeVar("Item")
Few = Annotated[list[Item], _FirstErrorOnly()]


class Strict(BaseModel):
    """An object of a request: no field but those that are declared, and no other types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Refuse what would make an error of each of very many fields; unknown ones that are null ask for nothing."""
        if not isinstance(value, dict):
            return value
        if len(value) > MAX_FIELDS:
            raise invalid(f"an object with more than {MAX_FIELDS} fields")
        return {key: item for key, item in value.items() if item is not None or key in cls.model_fields}
