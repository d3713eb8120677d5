"""An inference server that answers as a well-behaved model would, by the text of its prompt and its grammar.

It is the wires that are tested with it; real sampling is tested on a real vLLM.
"""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.logger.sidecar.scripted_upstream import EOS, HEAD, Answer, event
from weightwarden.logger.text.tokenizer import read_tokenizer

PLAIN, FINAL = "Hello there, and good day to you.", "It is 21 degrees in Paris."
RESULT_TOOL = "final_result"
"""The tool by which pydantic-ai has a result returned."""
_USER = "<|im_start|>user\n"
_ANY: dict[str, Any] = {"name": "Ada", "age": 36}


def model(model_folder: Path) -> Answer:
    """The server's answers."""
    tokenizer = read_tokenizer(model_folder)

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        prompt = tokenizer.decode(body["prompt"], skip_special_tokens=False)
        ids = tokenizer.encode(text_of(prompt, body.get("structured_outputs")), add_special_tokens=False).ids
        yield HEAD
        for token in ids:
            yield event([token])
        yield event([EOS], "stop")
        yield b"data: [DONE]\n\n"

    return answer


def text_of(prompt: str, grammar: dict[str, Any] | None) -> str:
    """The answer to a prompt under a grammar."""
    tools = offered(prompt)
    answered = prompt.rpartition(_USER)[2].startswith("<tool_response>")
    if grammar is not None and "json" in grammar:
        return json.dumps(instance(json.loads(grammar["json"])))
    if grammar is not None:
        allowed = [tool for tool in tools if tool["name"] in grammar["grammar"]]
        if not allowed:  # a format after reasoning
            return json.dumps(instance(json.JSONDecoder().raw_decode(grammar["grammar"].partition("%json ")[2])[0]))
        last = [tool for tool in allowed if tool["name"] == RESULT_TOOL]
        if answered:
            return call_of(last[0]) if last else FINAL
        return call_of(allowed[0])
    if not tools:
        return PLAIN
    return FINAL if answered else "Let me see.\n" + call_of(tools[0])


def offered(prompt: str) -> list[dict[str, Any]]:
    """The functions that the prompt offers."""
    found = re.search(r"<tools>\n(.*?)\n</tools>", prompt, re.DOTALL)
    return [json.loads(line)["function"] for line in found[1].splitlines()] if found else []


def call_of(function: dict[str, Any]) -> str:
    """A call of a function."""
    called = {"name": function["name"], "arguments": instance(function.get("parameters") or {})}
    return f"<tool_call>\n{json.dumps(called)}\n</tool_call>"


def instance(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value that a JSON schema of the clients allows."""
    root = schema if root is None else root
    if "$ref" in schema:
        found: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return instance(found, root)
    for name in ("anyOf", "allOf", "oneOf"):
        if name in schema:
            return instance(schema[name][0], root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "Paris"
        case "integer" | "number":
            return 36
        case "boolean":
            return True
        case "array":
            return [instance(schema.get("items", {}), root)]
        case "null":
            return None
    if "properties" not in schema:
        return _ANY
    return {name: instance(one, root) for name, one in schema["properties"].items()}
