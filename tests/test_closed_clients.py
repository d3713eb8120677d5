"""Clients of tests, each closed by the test that opened it: one left open fails another test, at any moment."""

import ast
from collections.abc import Iterator

import pytest

from tests.places import ROOT

CLIENTS = ("OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic", "Client", "AsyncClient")
MODULES = ("openai", "anthropic", "httpx", "httpx2")


def unclosed(source: str) -> Iterator[int]:
    """Lines that make a client which no `with` closes.

    A client that a function returns is its caller's to close, one of a mock transport has no connection, and one that
    an object keeps is closed in a method of that object.
    """
    tree = ast.parse(source)
    held: set[ast.AST] = set()
    closes = ".close()" in source
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem):
            held.add(node.context_expr)
        elif isinstance(node, ast.Return) and node.value is not None:
            held.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("enter_context"):
            held.update(node.args)
        elif isinstance(node, ast.Assign) and closes and isinstance(node.targets[0], ast.Attribute):
            held.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node not in held and isinstance(node.func, ast.Attribute):
            made = isinstance(node.func.value, ast.Name) and node.func.value.id in MODULES
            if made and node.func.attr in CLIENTS and "MockTransport" not in ast.unparse(node) + source:
                yield node.lineno


@pytest.mark.parametrize("room", ["tests", "benchmarks", "examples"])
def test_each_client_is_closed_where_it_was_made(room: str) -> None:
    left = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if "programs" not in path.parts  # they run in processes of their own
        for line in unclosed(path.read_text())
    ]
    assert left == []


def test_a_client_without_an_end_is_found() -> None:
    source = (
        "import openai\n\n\ndef test():\n    gpt = openai.OpenAI()\n    with openai.OpenAI() as other:\n        pass\n"
    )
    assert list(unclosed(source)) == [5]
