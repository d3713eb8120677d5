"""Answers of gpt-oss as grammars: messages on channels, after a prompt that ends with `<|start|>assistant`.

The form is that of https://github.com/openai/harmony, `docs/format.md`. An answer may begin with reasoning (the channel
`analysis`), and has one call at most.
"""

from collections.abc import Sequence

from weightwarden.logger.sidecar.constraints.envelopes import Called
from weightwarden.logger.sidecar.constraints.lark import Lark

_NEXT = "<|end|><|start|>assistant"


def forced_call(lark: Lark, called: Sequence[Called]) -> str:
    """The expression of an answer that is a call."""
    return f"{_reasoning(lark)} {_call(lark, called)}"


def text_or_call(lark: Lark, called: Sequence[Called]) -> str:
    """The expression of an answer that is text, or text on the channel `commentary` and a call."""
    text = f"{lark.literal('<|channel|>final<|message|>')} {lark.free((), ())}"
    preamble = lark.rule(f"{lark.literal('<|channel|>commentary<|message|>')} {lark.until(_NEXT)}")
    return f"{_reasoning(lark)} ({text} | {preamble}* {_call(lark, called)})"


def formatted(lark: Lark, content: str, called: Sequence[Called]) -> str:
    """The expression of an answer that follows a format, or is a call of one of the functions."""
    answer = f"{lark.literal('<|channel|>final<|message|>')} {content}"
    return f"{_reasoning(lark)} {lark.alternatives([answer, *([_call(lark, called)] if called else [])])}"


def _reasoning(lark: Lark) -> str:
    begin = lark.literal("<|channel|>analysis<|message|>")
    return f"{lark.rule(f'{begin} {lark.until(_NEXT)}')}*"


def _call(lark: Lark, called: Sequence[Called]) -> str:
    """The expression of a call. Its recipient stands in the channel's header or in the role's."""
    kind = f"({lark.literal(' <|constrain|>json')} | {lark.literal(' json')})?"
    calls = []
    for one in called:
        recipient = f" to=functions.{one.name}"
        header = lark.alternatives(
            [lark.literal(f"<|channel|>commentary{recipient}"), lark.literal(f"{recipient}<|channel|>commentary")]
        )
        message = f"{lark.literal('<|message|>')} {lark.json(one.schema)} {lark.literal('<|call|>')}"
        calls.append(lark.rule(f"{header} {kind} {message}"))
    return lark.alternatives(calls)
