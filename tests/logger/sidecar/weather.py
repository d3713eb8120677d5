"""A tool that tells the weather, and a template of models that call tools and reason."""

from tests.places import ROOT

TEMPLATE = ROOT / "benchmarks" / "recording" / "tools.jinja"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def weather_call(arguments: str) -> str:
    """The text of a call with these arguments."""
    return f'<tool_call>\n{{"name": "get_weather", "arguments": {arguments}}}\n</tool_call>'
