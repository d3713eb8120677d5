"""JSON schemas of tools' arguments, as far as grammars need them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from weightwarden.logger.sidecar.errors import invalid

MAX_REFERENCES = 32
"""References that are followed from one schema."""
ANY_OBJECT = {"type": "object"}
NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
_LENIENT = {"x-guidance": {"lenient": True}}
"""Extension of llguidance: keywords that it cannot enforce are ignored instead of refused."""
_DEFINITIONS = ("$defs", "definitions")


def object_schema(parameters: Mapping[str, Any] | None, *, lenient: bool, field: str) -> dict[str, Any]:
    """The schema of a function's arguments: an object.

    Args:
        parameters: the function's parameters, or None for a function without any.
        lenient: True: keywords that cannot be enforced are ignored.
        field: the field of the parameters, for messages.

    Raises:
        ApiError: the parameters are no schema of an object.
    """
    schema = dict(NO_ARGUMENTS if parameters is None else parameters)
    if schema.setdefault("type", "object") != "object":
        raise invalid("not the schema of an object", f"{field}.type")
    return {**schema, **_LENIENT} if lenient else schema


def properties_of(schema: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The properties of an object's schema, by name, with references followed to their definitions.

    Raises:
        ApiError: they are no schemas by name.
    """
    properties = resolved(schema, schema).get("properties", {})
    if not isinstance(properties, Mapping):
        raise invalid("not schemas by name", f"{field}.properties")
    return {name: one if isinstance(one, Mapping) else {} for name, one in properties.items()}


def required_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The names of required properties."""
    required = resolved(schema, schema).get("required", [])
    return frozenset(name for name in required if isinstance(name, str)) if isinstance(required, list) else frozenset()


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or the one of the root to which it refers."""
    for _ in range(MAX_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        found: Any = root
        for name in reference.removeprefix("#/").split("/"):
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            break
        schema = found
    return schema


def standalone(schema: Mapping[str, Any], root: Mapping[str, Any], *, lenient: bool) -> dict[str, Any]:
    """A schema of a part with the definitions to which it may refer."""
    definitions = {name: root[name] for name in _DEFINITIONS if name in root and name not in schema}
    refers = '"$ref"' in json.dumps(schema)
    return {**schema, **(definitions if refers else {}), **(_LENIENT if lenient else {})}


def members(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The alternatives of a schema, each with one type at most; the schema itself if it has no others."""
    schema = resolved(schema, root)
    if isinstance(together := schema.get("allOf"), list) and len(together) == 1 and isinstance(together[0], Mapping):
        schema = resolved(together[0], root)
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and options:
            return [resolved(one, root) for one in options if isinstance(one, Mapping)]
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return [{**schema, "type": kind} for kind in kinds]
    return [schema]
