"""The constraint that a request puts on its answers, as one grammar for the engine.

A format that stands alone is sent in its own language. Together with reasoning or calls it becomes part of a Lark
grammar, which holds the reasoning, too. The same request makes the same text.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from weightwarden.logger.record import MAX_GRAMMAR_CHARACTERS
from weightwarden.logger.sidecar.constraints import harmony
from weightwarden.logger.sidecar.constraints.envelopes import Called, Envelope
from weightwarden.logger.sidecar.constraints.lark import Lark, quoted
from weightwarden.logger.sidecar.constraints.schemas import ANY_OBJECT, object_schema
from weightwarden.logger.sidecar.errors import invalid
from weightwarden.logger.sidecar.reading.reasoning import HARMONY, ReasoningFamily
from weightwarden.logger.sidecar.wire.formats import ResponseFormat, StructuredOutputs
from weightwarden.logger.sidecar.wire.requests import ChatRequest, Request
from weightwarden.logger.sidecar.wire.tools import NamedTool, Tool

Kind = Literal["json", "regex", "choice", "grammar"]
JSON_OBJECT = '{"type": "object"}'


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A grammar for an answer.

    Attributes:
        kind: language of the text (`logger.record.Grammar`).
        text: the grammar.
        field: the request's field from which it comes.
    """

    kind: Kind
    text: str
    field: str


@dataclass(frozen=True, kw_only=True)
class AnswerShape:
    """The form in which a model answers, as far as grammars need it.

    Attributes:
        family: name of the family of its tool calls, or None.
        envelope: grammar of the family's calls, or None where there is none.
        reasoning: form of its reasoning, or None.
        special_ids: id of each token that a grammar never matches by text, by its text (`grammar.special_ids`).
        dropped: texts of the special tokens, which are no content.
    """

    family: str | None
    envelope: Envelope | None
    reasoning: ReasoningFamily | None
    special_ids: Mapping[str, int]
    dropped: frozenset[str] = frozenset()

    @property
    def is_harmony(self) -> bool:
        """True for answers that are messages on channels."""
        return self.family == HARMONY.name or self.reasoning is HARMONY


def format_of(request: Request) -> Constraint | None:
    """The format that a request wants, by itself.

    Raises:
        ApiError: the request wants two, or one that is malformed.
    """
    wanted, other = request.structured_outputs, request.response_format
    if other is not None and other.type == "text":
        other = None
    if wanted is not None and other is not None:
        raise invalid("response_format and structured_outputs exclude each other", "structured_outputs")
    if other is not None:
        return _response_format(other)
    return None if wanted is None else _structured_outputs(wanted)


def constraint_of(request: ChatRequest, shape: AnswerShape, prompt: str) -> Constraint | None:
    """The constraint of the answers to a chat, or None.

    Args:
        request: the request.
        shape: the form in which the model answers.
        prompt: the rendered prompt, or its end: it may have begun or ended the reasoning.

    Raises:
        ApiError: the constraint cannot be made into a grammar.
    """
    wanted = format_of(request)
    tools = request.tools or [] if request.tool_choice != "none" else []
    forced = request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
    if wanted is not None and wanted.kind == "grammar":
        if forced:
            raise invalid("structured_outputs.grammar cannot go with a forced tool", "structured_outputs")
        return wanted
    if not tools:
        return wanted if wanted is None or not _reasons(shape, prompt) else _formatted(shape, prompt, wanted, [])
    if forced:
        if request.structured_outputs is not None:
            raise invalid("structured_outputs cannot go with a forced tool", "structured_outputs")
        return _forced(request, shape, prompt, tools)
    strict = any(tool.function.strict for tool in tools)
    single = request.parallel_tool_calls is False
    if wanted is not None:
        return _formatted(shape, prompt, wanted, _offered(tools), single=single)
    return _text_or_calls(shape, prompt, tools, single=single) if strict or single else None


def _response_format(wanted: ResponseFormat) -> Constraint:
    schema = wanted.json_schema
    text = JSON_OBJECT if schema is None or wanted.type == "json_object" else json.dumps(schema.json_schema)
    return _bounded("json", text, "response_format")


def _structured_outputs(wanted: StructuredOutputs) -> Constraint:
    field = "structured_outputs"
    if wanted.json_schema is not None:
        schema = wanted.json_schema
        return _bounded("json", schema if isinstance(schema, str) else json.dumps(schema), field)
    if wanted.regex is not None:
        return _bounded("regex", wanted.regex, field)
    if wanted.choice is not None:
        return _bounded("choice", json.dumps(wanted.choice), field)
    if wanted.grammar is not None:
        return _bounded("grammar", wanted.grammar, field)
    return Constraint(kind="json", text=JSON_OBJECT, field=field)


def _bounded(kind: Kind, text: str, field: str) -> Constraint:
    if len(text) > MAX_GRAMMAR_CHARACTERS:
        raise invalid(f"a grammar of more than {MAX_GRAMMAR_CHARACTERS} characters", field)
    return Constraint(kind=kind, text=text, field=field)


def _reasons(shape: AnswerShape, prompt: str) -> bool:
    """True if an answer can begin with reasoning: the prompt has not ended it."""
    family = shape.reasoning
    return shape.is_harmony or (family is not None and not prompt.rstrip().endswith(family.end))


def _forced(request: ChatRequest, shape: AnswerShape, prompt: str, tools: Sequence[Tool]) -> Constraint:
    choice, single = request.tool_choice, request.parallel_tool_calls is False
    chosen = list(range(len(tools)))
    if isinstance(choice, NamedTool):
        chosen = [at for at in range(len(tools)) if tools[at].function.name == choice.function.name][:1]
        single = True
        if not chosen:
            raise invalid("no tool has this name", "tool_choice")
    called = [_called(tools[at], at, lenient=True) for at in chosen]
    lark = Lark(shape.special_ids)
    if shape.is_harmony:
        return _bounded("grammar", lark.text(harmony.forced_call(lark, called)), "tool_choice")
    calls = _calls(lark, _envelope(shape, "tool_choice"), called, single=single)
    return _bounded("grammar", lark.text(_after_reasoning(lark, shape, prompt, calls)), "tool_choice")


def _text_or_calls(shape: AnswerShape, prompt: str, tools: Sequence[Tool], *, single: bool) -> Constraint:
    field, called, lark = "parallel_tool_calls" if single else "tools", _offered(tools), Lark(shape.special_ids)
    if shape.is_harmony:
        return _bounded("grammar", lark.text(harmony.text_or_call(lark, called)), field)
    envelope = _envelope(shape, field)
    rest = lark.rule(_calls(lark, envelope, called, single=single, triggered=True))

    def body(not_begun_by: Sequence[str]) -> str:
        if not envelope.trigger:
            return f"({lark.free((), (*not_begun_by, envelope.free_start))} | {rest})"
        return f"({lark.free((envelope.trigger,), not_begun_by)} | {lark.until(envelope.trigger, not_begun_by)} {rest})"

    return _bounded("grammar", lark.text(_with_reasoning(lark, shape, prompt, body)), field)


def _formatted(
    shape: AnswerShape, prompt: str, wanted: Constraint, called: Sequence[Called], *, single: bool = False
) -> Constraint:
    """The grammar of a format, or of calls, after reasoning."""
    lark = Lark(shape.special_ids)
    content = _content(lark, wanted)
    if shape.is_harmony:
        return _bounded("grammar", lark.text(harmony.formatted(lark, content, called)), wanted.field)
    choices = [content]
    if called:
        envelope = _envelope(shape, wanted.field)
        if not envelope.trigger:
            raise invalid(
                "a format cannot go with tools in this model's form of calls, which is JSON itself:"
                " send tool_choice none or required",
                wanted.field,
            )
        choices.append(_calls(lark, envelope, called, single=single))
    return _bounded(
        "grammar", lark.text(_after_reasoning(lark, shape, prompt, lark.alternatives(choices))), wanted.field
    )


def _content(lark: Lark, wanted: Constraint) -> str:
    """The expression of content in a format."""
    if wanted.kind == "json":
        try:
            return lark.json(json.dumps(json.loads(wanted.text)))
        except (ValueError, RecursionError):
            raise invalid("not a JSON schema", wanted.field) from None
    if wanted.kind == "choice":
        return lark.rule(" | ".join(map(quoted, json.loads(wanted.text))))
    return lark.matching(wanted.text)


def _offered(tools: Sequence[Tool]) -> list[Called]:
    """The functions that the model may call if it wants to: only strict ones follow their schemas."""
    return [_called(tool, at, lenient=False) for at, tool in enumerate(tools)]


def _called(tool: Tool, at: int, *, lenient: bool) -> Called:
    """A function as a grammar knows it.

    Args:
        tool: the tool.
        at: its place among the tools.
        lenient: True: one of which `strict` is not said follows its schema as far as it can be enforced.
    """
    function, field = tool.function, f"tools.{at}.function.parameters"
    strict = bool(function.strict)
    free = not strict and (function.strict is False or not lenient)
    schema = ANY_OBJECT if free else object_schema(function.parameters, lenient=not strict, field=field)
    return Called(name=function.name, schema=schema, strict=strict, field=field)


def _envelope(shape: AnswerShape, field: str) -> Envelope:
    if shape.envelope is None:
        raise invalid(
            f"not served: there is no grammar of the tool calls of the family {shape.family}: send tool_choice auto or"
            " none, and no strict tool",
            field,
        )
    return shape.envelope


def _calls(lark: Lark, envelope: Envelope, called: Sequence[Called], *, single: bool, triggered: bool = False) -> str:
    """The expression of one call or several. With `triggered`, their trigger has come before."""
    call = lark.rule(" | ".join(lark.rule(envelope.call(lark, one)) for one in called))
    opening = envelope.opening if triggered else envelope.trigger + envelope.opening
    between = lark.literal(envelope.again) + " " if envelope.again else ""
    more = "" if single or envelope.again is None else f" ({between}{call})*"
    parts = (
        lark.literal(opening) if opening else "",
        f"{call}{more}",
        lark.literal(envelope.end) if envelope.end else "",
    )
    return " ".join(part for part in parts if part)


def _after_reasoning(lark: Lark, shape: AnswerShape, prompt: str, rest: str) -> str:
    """The expression of an answer whose part after the reasoning is never free text."""
    family = shape.reasoning
    if family is None or not _reasons(shape, prompt):
        return f"{lark.space()} {rest}"
    reasoning = f"{lark.until(family.end)} {lark.space()}"
    if family.begun_by(prompt):
        return f"{reasoning} {rest}"
    return f"({lark.spaced(family.start)} {reasoning} | {lark.space()}) {rest}"


def _with_reasoning(lark: Lark, shape: AnswerShape, prompt: str, body: Callable[[Sequence[str]], str]) -> str:
    """The expression of an answer whose part after the reasoning may be free text.

    Args:
        lark: the grammar.
        shape: the form in which the model answers.
        prompt: the rendered prompt.
        body: the expression of that part, from the texts with which it cannot begin.
    """
    family = shape.reasoning
    if family is None or not _reasons(shape, prompt):
        return body(())
    if family.begun_by(prompt):
        return f"{lark.until(family.end)} {body(())}"
    return f"{lark.spaced(family.start)} {lark.until(family.end)} {body(())} | {body((family.start,))}"
