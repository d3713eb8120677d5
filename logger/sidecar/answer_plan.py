"""Plan of the answers to a chat, beyond sampling: grammar, reasoning, and the reader of their text."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from weightwarden.logger.record import BESIDE_GRAMMAR, Reasoning, beside_grammar
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape, Constraint, constraint_of
from weightwarden.logger.sidecar.errors import invalid
from weightwarden.logger.sidecar.reading.families import FAMILIES, IdStyle
from weightwarden.logger.sidecar.reading.parts import AnswerReader, CallBegin
from weightwarden.logger.sidecar.reading.reader import reader_of
from weightwarden.logger.sidecar.reading.reasoning import HARMONY, ReasoningFamily
from weightwarden.logger.sidecar.wire.requests import ChatRequest, openai_call_id
from weightwarden.sampler.params import SamplingParams

_PROMPT_CHARACTERS = 4096
"""Characters at the end of a prompt that can have begun or ended its reasoning."""
_MISTRAL_ID_CHARACTERS = 9


@dataclass(frozen=True, kw_only=True)
class AnswerPlan:
    """The plan of a request's answers.

    Attributes:
        constraint: their grammar, not yet checked, or None.
        reasoning: their reasoning, if stop strings or a budget depend on it.
        reader: maker of the reader of one answer, or None where all of its text is content.
        call_id: id of a tool call, from the digits that the sidecar issues and the call's beginning.
    """

    constraint: Constraint | None
    reasoning: Reasoning | None
    reader: Callable[[], AnswerReader] | None
    call_id: Callable[[str, CallBegin], str]

    def sampling(self, asked: SamplingParams) -> SamplingParams:
        """The sampling parameters: the text of special tokens stays where a reader needs it."""
        return asked if self.reader is None else asked.model_copy(update={"skip_special_tokens": False})


def planned(
    request: ChatRequest, sampling: SamplingParams, shape: AnswerShape, prompt: str, *, stops_inside: bool
) -> AnswerPlan:
    """The plan of the answers to a chat.

    Args:
        request: the request.
        sampling: its sampling parameters.
        shape: the form in which the model answers.
        prompt: the rendered prompt.
        stops_inside: whether stop strings end an answer within its reasoning, too.

    Raises:
        ApiError: the request asks for what this model's answers cannot give, or for what excludes each other.
    """
    _check_tools(request, shape)
    end = prompt[-_PROMPT_CHARACTERS:]
    constraint = constraint_of(request, shape, end)
    if constraint is not None:
        refuse_beside(sampling)
        if request.thinking_token_budget is not None:
            raise invalid("cannot go with structured output, or forced or strict tools", "thinking_token_budget")
    reads_calls = bool(request.tools) and request.tool_choice != "none"
    family = shape.family if reads_calls or shape.is_harmony else None
    reasoning = None if shape.reasoning is None else shape.reasoning.name
    reader = partial(
        reader_of,
        family,
        reasoning,
        [tool.given() for tool in request.tools or []] if reads_calls else [],
        end,
        dropped=shape.dropped,
    )
    return AnswerPlan(
        constraint=constraint,
        reasoning=_reasoning(request, sampling, shape.reasoning, end, stops_inside=stops_inside),
        reader=None if family is None and reasoning is None else reader,
        call_id=openai_call_id if shape.family is None else _CALL_IDS[FAMILIES[shape.family].ids],
    )


def refuse_beside(sampling: SamplingParams) -> None:
    """Refuse sampling parameters that cannot go with a grammar.

    Raises:
        ApiError: there is one; the error names it.
    """
    if (found := beside_grammar(sampling)) is not None:
        raise invalid(BESIDE_GRAMMAR, found)


def _check_tools(request: ChatRequest, shape: AnswerShape) -> None:
    if not request.tools:
        if request.tool_choice not in (None, "none", "auto"):
            raise invalid("tool_choice is not served without tools", "tool_choice")
    elif shape.family is None and request.tool_choice != "none":
        raise invalid(
            "tools are not served here: the form of this model's tool calls is unknown (--tool-parser); with"
            " tool_choice none the model is shown them",
            "tools",
        )


def _reasoning(
    request: ChatRequest, sampling: SamplingParams, family: ReasoningFamily | None, prompt: str, *, stops_inside: bool
) -> Reasoning | None:
    """The reasoning on which stop strings or a budget depend, or None."""
    budget = request.thinking_token_budget
    if family is None:
        if budget is not None:
            raise invalid(
                "not served: the form of this model's reasoning is unknown (--reasoning-parser)",
                "thinking_token_budget",
            )
        return None
    if budget is None and (stops_inside or not sampling.stop):
        return None
    return Reasoning(
        start="" if family.begun_by(prompt) else family.start,
        end=family.end,
        stops_inside=stops_inside,
        budget=budget,
        forced_end=None if budget is None else _forced_end(family),
    )


def _forced_end(family: ReasoningFamily) -> str:
    """The text by which the sidecar ends reasoning whose budget is spent."""
    if family is HARMONY:
        return f"{family.end}<|start|>assistant<|channel|>final<|message|>"
    return f"\n{family.end}\n\n"


def _mistral_call_id(digits: str, begin: CallBegin) -> str:
    return begin.own_id or digits[:_MISTRAL_ID_CHARACTERS]


def _kimi_call_id(digits: str, begin: CallBegin) -> str:
    return begin.own_id or f"functions.{begin.name}:{begin.index}"


_CALL_IDS: dict[IdStyle, Callable[[str, CallBegin], str]] = {
    "call": openai_call_id,
    "mistral": _mistral_call_id,
    "kimi": _kimi_call_id,
}
