"""Forms of tool calls as grammars, by family: what a model of the family writes around the name and the arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weightwarden.logger.sidecar.constraints.lark import Lark
from weightwarden.logger.sidecar.constraints.parameters import ParameterForm, parameters
from weightwarden.logger.sidecar.constraints.schemas import properties_of


@dataclass(frozen=True, kw_only=True)
class Called:
    """A function that a grammar lets the model call.

    Attributes:
        name: its name.
        schema: schema of its arguments.
        strict: True: what cannot be enforced is refused.
        field: the field of the schema, for messages.
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool
    field: str


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The form of the calls of one answer.

    Attributes:
        trigger: text that begins the first call, and that no content holds. Empty: a call is the whole answer.
        opening: text between the trigger and the first call.
        call: the expression of a call.
        again: text between two calls, or None where an answer has one call.
        end: text after the last call.
        free_start: text with which content cannot begin, where the trigger is empty.
    """

    trigger: str
    opening: str = ""
    call: Callable[[Lark, Called], str]
    again: str | None
    end: str = ""
    free_start: str = ""


def _sequence(*expressions: str) -> str:
    return " ".join(one for one in expressions if one)


def _json_call(before: str, after: str) -> Callable[[Lark, Called], str]:
    """The form of a call whose arguments are one JSON object. `{name}` in the text before it is the function's name."""

    def call(lark: Lark, called: Called) -> str:
        return _sequence(
            lark.literal(before.replace("{name}", called.name)),
            lark.json(called.schema),
            lark.literal(after) if after else "",
        )

    return call


def _argument_call(before: str, form: ParameterForm, after: str, *, blank: str = "") -> Callable[[Lark, Called], str]:
    """The form of a call whose arguments stand one by one. `blank` may stand where the schema names none."""

    def call(lark: Lark, called: Called) -> str:
        arguments = parameters(lark, form, called.schema, strict=called.strict, field=called.field)
        if blank and not properties_of(called.schema, called.field):
            arguments = _sequence(f"{lark.literal(blank)}?", arguments)
        return _sequence(lark.literal(before.replace("{name}", called.name)), arguments, lark.literal(after))

    return call


def _kimi_call(lark: Lark, called: Called) -> str:
    return _sequence(
        lark.literal(f"functions.{called.name}:"),
        lark.matching("[0-9]{1,4}"),
        lark.literal("<|tool_call_argument_begin|>"),
        lark.json(called.schema),
        lark.literal("<|tool_call_end|>"),
    )


_HERMES = Envelope(
    trigger="<tool_call>",
    opening="\n",
    call=_json_call('{"name": "{name}", "arguments": ', "}\n</tool_call>"),
    again="\n<tool_call>\n",
)
_LLAMA3 = Envelope(trigger="", call=_json_call('{"name": "{name}", "parameters": ', "}"), again=None, free_start="{")
_QWEN3_CODER = Envelope(
    trigger="<tool_call>",
    opening="\n",
    call=_argument_call(
        "<function={name}>\n",
        ParameterForm("<parameter=", ">\n", ">\n", "\n</parameter>", "</parameter>", "\n"),
        "</function>\n</tool_call>",
    ),
    again="\n<tool_call>\n",
)
_MISTRAL = Envelope(trigger="[TOOL_CALLS]", call=_json_call("{name}[ARGS]", ""), again="[TOOL_CALLS]")
_DEEPSEEK_V31 = Envelope(
    trigger="<｜tool▁calls▁begin｜>",
    opening="<｜tool▁call▁begin｜>",
    call=_json_call("{name}<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
    again="<｜tool▁call▁begin｜>",
    end="<｜tool▁calls▁end｜>",
)
_DEEPSEEK_V32 = Envelope(
    trigger="<｜DSML｜function_calls>",
    opening="\n",
    call=_argument_call(
        '<｜DSML｜invoke name="{name}">\n',
        ParameterForm(
            '<｜DSML｜parameter name="',
            '" string="true">',
            '" string="false">',
            "</｜DSML｜parameter>",
            "</｜DSML｜parameter>",
            "\n",
        ),
        "</｜DSML｜invoke>\n",
        blank="\n",
    ),
    again="",
    end="</｜DSML｜function_calls>",
)
_KIMI = Envelope(
    trigger="<|tool_calls_section_begin|>",
    opening="<|tool_call_begin|>",
    call=_kimi_call,
    again="<|tool_call_begin|>",
    end="<|tool_calls_section_end|>",
)


def _mistral_list(gap: str) -> Envelope:
    """Mistral's form of a JSON list, with the text between its marker and the list."""
    return Envelope(
        trigger="[TOOL_CALLS]",
        opening=f"{gap}[",
        call=_json_call('{"name": "{name}", "arguments": ', "}"),
        again=", ",
        end="]",
    )


def _glm(gap: str) -> Envelope:
    """GLM's form; from 4.7 on without line ends."""
    value, end = f"</arg_key>{gap}<arg_value>", "</arg_value>"
    return Envelope(
        trigger="<tool_call>",
        call=_argument_call(
            f"{{name}}{gap}",
            ParameterForm("<arg_key>", value, value, end, end, gap),
            "</tool_call>",
        ),
        again=f"{gap}<tool_call>",
    )


_BY_FAMILY = {
    "hermes": _HERMES,
    "llama3_json": _LLAMA3,
    "qwen3_coder": _QWEN3_CODER,
    "mistral": _mistral_list(""),
    "deepseek_v31": _DEEPSEEK_V31,
    "deepseek_v32": _DEEPSEEK_V32,
    "kimi_k2": _KIMI,
    "glm": _glm(""),
}


def envelope_of(family: str, template: str) -> Envelope | None:
    """The form of a family's calls, or None where this module has no grammar of it.

    Args:
        family: name of the family.
        template: text of the chat template, which tells versions of a family apart.
    """
    if family == "mistral" and "[ARGS]" in template:
        return _MISTRAL
    if family == "mistral" and "[TOOL_CALLS] [" in template:
        return _mistral_list(" ")
    if family == "glm" and "\n<arg_key>" in template.replace("\\n", "\n"):
        return _glm("\n")
    return _BY_FAMILY.get(family)
