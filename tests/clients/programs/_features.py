"""Features of a client: each is tried by itself, and its result, or its fault, is printed as one JSON object."""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else ""
MODEL, KEY = "small", "key-of-a-real-client"
_FEATURES: dict[str, Callable[[], Any]] = {}


def feature(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a feature of a name."""

    def registered(tried: Callable[[], Any]) -> Callable[[], Any]:
        _FEATURES[name] = tried
        return tried

    return registered


def main() -> None:
    """Try all features."""
    results: dict[str, Any] = {}
    for name, tried in _FEATURES.items():
        try:
            results[name] = {"ok": tried()}
        except Exception as error:
            traceback.print_exc()
            results[name] = {"fault": f"{type(error).__name__}: {error}"[:500]}
    print(json.dumps(results, default=str))


def weather(city: str) -> str:
    """The result of the tool."""
    return f"{city}: 21 degrees"


WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
QUESTION = "What is the weather in Paris?"
