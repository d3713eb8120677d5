"""Types of arguments that a model wrote as bare text."""

import json
import time
from typing import Any

import pytest

from weightwarden.logger.sidecar.reading.tools import Tools


def tools(schema: Any, **root: Any) -> Tools:
    parameters = {"type": "object", "properties": {"x": schema}, **root}
    return Tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "007", "007"),
        ({"type": "string"}, "true", "true"),
        ({"type": "string"}, '{"a": 1}', '{"a": 1}'),
        ({}, "5", "5"),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, " 5\n", 5),
        ({"type": "integer"}, "five", "five"),
        ({"type": "integer"}, "1_000", "1_000"),
        ({"type": "number"}, "1e20", 1e20),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": ["string", "null"]}, "None", None),
        ({"type": ["string", "null"]}, "nothing", "nothing"),
        ({"type": "object"}, '{"a": [1, {}]}', {"a": [1, {}]}),
        ({"type": "object"}, '{"a": ', '{"a": '),
        ({"type": "array"}, '{"a": 1}', '{"a": 1}'),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "5", 5),
        ({"oneOf": [{"type": "array"}, {"type": "null"}]}, "[]", []),
        ({"enum": [1, "two", None]}, "1", 1),
        ({"enum": [1, "two", None]}, "two", "two"),
        ({"const": True}, "true", True),
        ({"$ref": "#/$defs/P"}, '{"a": 1}', {"a": 1}),
        ({"$ref": "#/$defs/missing"}, "1", "1"),
        ({"$ref": "https://example.org/schema"}, "1", "1"),
        (True, "1", "1"),
    ],
)
def test_the_schema_types_a_value(schema: Any, text: str, value: object) -> None:
    found = tools(schema, **{"$defs": {"P": {"type": "object"}}}).value("f", "x", text)
    assert json.loads(found) == value
    assert type(json.loads(found)) is type(value)


def test_a_parameter_that_no_schema_describes_is_a_string() -> None:
    assert json.loads(tools({"type": "integer"}).value("f", "other", "5")) == "5"
    assert json.loads(tools({"type": "integer"}).value("g", "x", "5")) == "5"


@pytest.mark.parametrize("parameters", [None, True, {}, {"properties": None}, {"properties": []}])
def test_a_tool_needs_no_schema(parameters: Any) -> None:
    one = Tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert one.value("f", "x", "5") == '"5"'
    assert one.names == {"f"}


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop: dict[str, Any] = {"anyOf": [{"$ref": "#/$defs/L"}, {"$ref": "#/$defs/L"}]}
    assert tools({"$ref": "#/$defs/L"}, **{"$defs": {"L": loop}}).value("f", "x", "1") == '"1"'


def test_a_number_of_many_digits_costs_no_conversion() -> None:
    digits = "9" * 1_000_000
    begun = time.process_time()
    assert tools({"type": "integer"}).value("f", "x", digits) == digits
    assert time.process_time() - begun < 2
