"""Strict validation shared by all parts of a request. A refusal is one sentence."""

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
    """Validator of a union that reports one sentence instead of the errors of every member."""

    def validate(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise PydanticCustomError("one_of", "{what} is wanted", {"what": what}) from None

    return WrapValidator(validate)


class _FirstErrorOnly(FailFast):
    """Validator of a list that stops at the first error. A list of millions of items would yield millions of errors."""

    __hash__ = object.__hash__  # a union hashes its members


Item = TypeVar("Item")
Few = Annotated[list[Item], _FirstErrorOnly()]


class Strict(BaseModel):
    """An object of a request. Undeclared fields and other types are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Refuse an object with very many fields before each becomes an error. Unknown null fields ask for nothing."""
        if not isinstance(value, dict):
            return value
        if len(value) > MAX_FIELDS:
            raise invalid(f"an object with more than {MAX_FIELDS} fields")
        return {key: item for key, item in value.items() if item is not None or key in cls.model_fields}
