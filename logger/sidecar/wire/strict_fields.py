"""Strict validation shared by all parts of a request. A refusal is one sentence."""

from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from weightwarden.logger.sidecar.errors import invalid
from weightwarden.sampler.params import TokenId

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


def _whole(value: Any) -> Any:
    """A number without a fraction as an integer: 40.0 as 40. Languages with one kind of number write it so."""
    return int(value) if type(value) is float and value.is_integer() else value


def _whole_items(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
    """A list that is valid as it is, or with its whole floats as integers. Only the second costs Python an item."""
    try:
        return inner(value)
    except ValidationError:
        if isinstance(value, list) and float in map(type, value):
            return inner([_whole(item) for item in value])
        raise


Integer = Annotated[int, BeforeValidator(_whole)]
TokenIds = Annotated[Few[TokenId], WrapValidator(_whole_items)]


class Strict(BaseModel):
    """An object of a request. Other types are refused, and undeclared fields too, or ignored as the caller says."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse an object with very many fields before each becomes an error. Unknown null fields ask for nothing.

        Where the validation's context is a set, it receives the names of the other unknown fields, which are dropped.
        """
        if not isinstance(value, dict):
            return value
        if len(value) > MAX_FIELDS:
            raise invalid(f"an object with more than {MAX_FIELDS} fields")
        unknown = value.keys() - _names(cls)
        if not unknown:
            return value
        if isinstance(info.context, set):
            info.context.update(name for name in unknown if value[name] is not None)
            return {key: item for key, item in value.items() if key not in unknown}
        return {key: item for key, item in value.items() if item is not None or key not in unknown}


@cache
def _names(kind: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields in JSON."""
    return frozenset(field.alias or name for name, field in kind.model_fields.items())
