"""Answers under grammars through the sidecar, by three wires, from a real vLLM server: logged, sealed and verified.

Tools are forced, named, strict and offered; formats are JSON schemas, a regular expression, choices and a Lark grammar.
The sidecar chooses the grammars. Its log is sealed and verified by independent replay, and by exact replay with
`--exact`.

    python -m benchmarks.grammars.through_sidecar --vllm-python PYTHON [--rounds 24] [--exact]
"""

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx2
from click.testing import CliRunner

from benchmarks.free_port import free_port
from benchmarks.recording.grammars import PINNED, guidance_version
from benchmarks.recording.vllm_server import vllm_server
from benchmarks.repository import BUNDLED_POLICY, ROOT
from benchmarks.sidecar.servers import await_port, sidecar_command, started
from weightwarden.cli.main import verify
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.embedded import ensure_embedded_model

TEMPLATE = ROOT / "benchmarks" / "recording" / "tools.jinja"
CONTEXT = 1024
MODEL = "source"
"""The model's name, as `sidecar_command` gives it."""
AT_ONCE = 16

_CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
_TIME = {
    "type": "object",
    "properties": {"zone": {"type": "integer", "minimum": -12, "maximum": 12}},
    "required": ["zone"],
    "additionalProperties": False,
}
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_FUNCTIONS = (("get_weather", _CITY), ("get_time", _TIME))
QUESTIONS = (
    "What is the weather in Paris?",
    "What time is it in Tokyo?",
    "Is it warm in Lagos today?",
    "Who wrote Faust? Answer with a name and an age.",
    "Tell me about a person.",
    "Which unit is used in Boston?",
)


def _tools(*, strict: bool = False) -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": name, "parameters": schema, **({"strict": True} if strict else {})}}
        for name, schema in _FUNCTIONS
    ]


def _chat(**more: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", more


_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": _PERSON}}
_CUSTOM = [{"name": name, "input_schema": schema} for name, schema in _FUNCTIONS]
_RESPONSE_TOOLS = [{"type": "function", "name": name, "parameters": schema} for name, schema in _FUNCTIONS]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tool required": _chat(tools=_tools(), tool_choice="required"),
    "tool named": _chat(tools=_tools(), tool_choice={"type": "function", "function": {"name": "get_time"}}),
    "auto, strict": _chat(tools=_tools(strict=True)),
    "auto, one call": _chat(tools=_tools(), parallel_tool_calls=False),
    "json_schema": _chat(response_format=_FORMAT),
    "json_object": _chat(response_format={"type": "json_object"}),
    "regex": _chat(structured_outputs={"regex": "(Yes|No), because [a-z ]{5,40}\\."}),
    "choice": _chat(structured_outputs={"choice": ["Celsius", "Fahrenheit", "Kelvin"]}),
    "Lark": _chat(structured_outputs={"grammar": 'start: "- " ITEM ("\\n- " ITEM){1,3}\nITEM: /[a-z]{2,12}/'}),
    "responses, format": (
        "/v1/responses",
        {"text": {"format": {"type": "json_schema", "name": "person", "schema": _PERSON}}},
    ),
    "responses, required": ("/v1/responses", {"tools": _RESPONSE_TOOLS, "tool_choice": "required"}),
    "messages, any": ("/v1/messages", {"tools": _CUSTOM, "tool_choice": {"type": "any"}}),
    "messages, named": ("/v1/messages", {"tools": _CUSTOM, "tool_choice": {"type": "tool", "name": "get_weather"}}),
    "messages, format": ("/v1/messages", {"output_config": {"format": {"type": "json_schema", "schema": _PERSON}}}),
}
"""Requests by kind: their path and their own fields."""
OFFERED = ("auto, strict", "auto, one call")
"""The kinds in which the model decides whether to call."""


@dataclass(frozen=True)
class Answered:
    """An answer: its kind, whether it calls a tool, and whether it was cut off by its length limit."""

    kind: str
    calls: bool
    cut: bool


def ask(url: str, rounds: int, tokens: int = 60) -> list[Answered]:
    """The answers to every kind of request, so many times each, several at once.

    Raises:
        httpx2.HTTPStatusError: a request was refused.
    """
    jobs = [
        (kind, QUESTIONS[(at + number) % len(QUESTIONS)]) for at in range(rounds) for number, kind in enumerate(KINDS)
    ]
    with httpx2.Client(base_url=url, timeout=600) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda job: _asked(client, job[0], job[1], tokens), jobs))


def _asked(client: httpx2.Client, kind: str, question: str, tokens: int) -> Answered:
    path, more = KINDS[kind]
    body: dict[str, Any] = {"model": MODEL, "temperature": 1.0, **more}
    if path == "/v1/responses":
        body |= {"input": question, "max_output_tokens": tokens}
    else:
        body |= {"messages": [{"role": "user", "content": question}], "max_tokens": tokens}
    response = client.post(path, json=body)
    response.raise_for_status()
    said = response.json()
    if path == "/v1/responses":
        types = [item["type"] for item in said["output"]]
        return Answered(kind, "function_call" in types, said["status"] == "incomplete")
    if path == "/v1/messages":
        return Answered(
            kind, any(b["type"] == "tool_use" for b in said["content"]), said["stop_reason"] == "max_tokens"
        )
    [choice] = said["choices"]
    return Answered(kind, bool(choice["message"].get("tool_calls")), choice["finish_reason"] == "length")


def verified(folder: Path, *options: Any) -> dict[str, Any]:
    """The JSON report of `verify run` over the sealed archives.

    Raises:
        RuntimeError: the log does not hold.
    """
    signed = [str(folder / "archives"), "--public-key", str(folder / "log.key.pub")]
    checked = CliRunner().invoke(verify, ["log", "check", *signed])
    if checked.exit_code:
        raise RuntimeError(checked.output)
    report = folder / "report.json"
    CliRunner().invoke(
        verify, ["run", *signed, "--max-model-len", str(CONTEXT), "--json", str(report), *map(str, options)]
    )
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def _shown(name: str, report: dict[str, Any], answers: Sequence[Answered]) -> None:
    outside = report.get("outside_grammar")
    print(
        f"{name}: verdict {report['verdict']}, {report['verified_records']} of {len(answers)} records verified,"
        f" {len(report['flagged'])} flagged, {outside} tokens outside the grammar"
    )


@click.command()
@click.option("--vllm-python", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--rounds", default=24, show_default=True, help="Answers of each kind.")
@click.option("--exact", is_flag=True, help="Verify by exact replay, too, under a policy made of half of the records.")
def main(vllm_python: Path, rounds: int, exact: bool) -> None:
    model = ensure_embedded_model()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = (*PINNED, "--max-logprobs", "1024", "--max-model-len", str(CONTEXT))
        with vllm_server(vllm_python, model, folder / "vllm.log", arguments) as server:
            port = free_port()
            command = sidecar_command(
                folder,
                server.url,
                port,
                *("--upstream-model", server.served_model()[0], "--max-model-len", str(CONTEXT)),
                *("--chat-template", str(TEMPLATE), "--archives", str(folder / "archives")),
                grammar_backend=f"guidance=={guidance_version(vllm_python)}",
            )
            process = started(command, folder / "sidecar.log")
            await_port(port, process, folder / "sidecar.log")
            try:
                answers = ask(f"http://127.0.0.1:{port}", rounds)
            finally:
                _stop(process)
            key = SigningKey.read(folder / "log.key")
            (folder / "log.key.pub").write_text(f"{key.verifier}\n", encoding="ascii")
            counts, called = Counter(one.kind for one in answers), Counter(one.kind for one in answers if one.calls)
            cut = Counter(one.kind for one in answers if one.cut)
            for kind in KINDS:
                print(f"{kind:<20} {counts[kind]:4d} answers, {called[kind]:4d} call, {cut[kind]:4d} cut off")
            _shown("independent", verified(folder, "--policy", BUNDLED_POLICY), answers)
            if exact:
                policy = folder / "exact.toml"
                replay = ("--replayer", "vllm", "--replay-url", server.url)
                signed = [str(folder / "archives"), "--public-key", str(folder / "log.key.pub")]
                made = CliRunner().invoke(
                    verify,
                    ["calibrate", *signed, "--exact", *replay, "--max-model-len", str(CONTEXT), "--out", str(policy)],
                )
                print(made.output.strip().splitlines()[-1])
                _shown("exact", verified(folder, *replay, "--policy", policy), answers)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(120)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
