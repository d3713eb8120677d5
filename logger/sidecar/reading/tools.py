"""The tools that a request offers, as far as the reading of calls needs them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_REFERENCES = 32
"""References and alternatives that are followed in one schema."""

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_LITERALS = {"True": "true", "False": "false", "None": "null"}


class Tools:
    """The functions that a request offers, and the types of their parameters.

    Attributes:
        names: names of the functions.
    """

    def __init__(self, definitions: Sequence[Mapping[str, Any]] = ()) -> None:
        """The functions of tools in OpenAI's form: `{"type": "function", "function": {"name": ..., ...}}`."""
        functions = [tool["function"] for tool in definitions]
        self._schemas: dict[str, Any] = {one["name"]: one.get("parameters") for one in functions}
        self._found: dict[tuple[str, str], frozenset[str]] = {}
        self.names = frozenset(self._schemas)

    def value(self, function: str, parameter: str, text: str) -> str:
        """The JSON text of an argument that a model wrote as bare text, by the types that the schema admits.

        The text itself counts if it is JSON of a type that is admitted and no string; so do Python's True, False and
        None. Otherwise it is a string.
        """
        types = self.types(function, parameter)
        bare = _LITERALS.get(text.strip(), text.strip())
        found = json_type(bare)
        if found in types or (found == "integer" and "number" in types) or (found == "number" and "integer" in types):
            return bare
        return json.dumps(text, ensure_ascii=False)

    def types(self, function: str, parameter: str) -> frozenset[str]:
        """The JSON types that the schema of a parameter admits, except strings; none if it says nothing."""
        found = self._found.get((function, parameter))
        if found is None:
            schema = self._schemas.get(function)
            properties = schema.get("properties") if isinstance(schema, Mapping) else None
            if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or parameter not in properties:
                return frozenset()
            found = frozenset(_types(properties[parameter], schema)) - {"string"}
            self._found[function, parameter] = found
        return found


def json_or_string(text: str) -> str:
    """The text itself if it is JSON, otherwise the text as a JSON string."""
    return text if json_type(text) is not None else json.dumps(text, ensure_ascii=False)


def json_type(text: str) -> str | None:
    """The JSON type of a text, or None if it is no JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_fraction)
    except (ValueError, RecursionError):
        return None
    return "null" if value is None else _TYPES[type(value)]


def _whole(text: str) -> int:
    """An integer's stand-in: its digits need not be read."""
    return 0


def _fraction(text: str) -> float:
    return 0.0


def _refuse(name: str) -> None:
    raise ValueError(name)


def _types(schema: Any, root: Mapping[str, Any]) -> Iterator[str]:
    """The types that a schema names, also in its alternatives and by reference within the root."""
    waiting, left = [schema], MAX_REFERENCES
    while waiting and left:
        left -= 1
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        named = one.get("type")
        yield from (name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str))
        enum = one.get("enum")
        for value in [*(enum if isinstance(enum, list) else ()), *([one["const"]] if "const" in one else ())]:
            yield "null" if value is None else _TYPES.get(type(value), "string")
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(one.get(key), list):
                waiting += one[key]
        if isinstance(one.get("$ref"), str):
            waiting.append(_referred(one["$ref"], root))


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """The part of the root to which a reference like `#/$defs/Name` leads, or None."""
    found: Any = root
    for name in reference.removeprefix("#/").split("/") if reference.startswith("#/") else [""]:
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
