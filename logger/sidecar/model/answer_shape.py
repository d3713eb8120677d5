"""The form in which a model reasons and calls tools: as the operator says, or guessed from its chat template."""

from collections.abc import Iterator

from tokenizers import Tokenizer

from weightwarden.logger.grammar.special_ids import special_ids
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape
from weightwarden.logger.sidecar.constraints.envelopes import envelope_of
from weightwarden.logger.sidecar.prompts.template_files import TemplateFile
from weightwarden.logger.sidecar.reading.families import guess_family
from weightwarden.logger.sidecar.reading.reasoning import REASONING, guess_reasoning

NONE = "none"
"""The operator's word for a model without tool calls, or without reasoning."""


def shape_of(
    with_tools: TemplateFile,
    plain: TemplateFile,
    tokenizer: Tokenizer,
    tool_parser: str | None,
    reasoning_parser: str | None,
) -> tuple[AnswerShape, tuple[str, ...]]:
    """The form in which a model answers, and sentences about what was guessed.

    Args:
        with_tools: the template of chats with tools.
        plain: the template of other chats.
        tokenizer: the model's tokenizer.
        tool_parser: family of its tool calls, `none`, or None for a guess.
        reasoning_parser: family of its reasoning, `none`, or None for a guess.
    """
    family = guess_family(with_tools.text or "") if tool_parser is None else _named(tool_parser)
    reasoning = guess_reasoning(plain.text or "") if reasoning_parser is None else _named(reasoning_parser)
    shape = AnswerShape(
        family=family,
        envelope=None if family is None else envelope_of(family, with_tools.text or ""),
        reasoning=None if reasoning is None else REASONING[reasoning],
        special_ids=special_ids(tokenizer),
        dropped=frozenset(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special),
    )

    def guesses() -> Iterator[str]:
        if tool_parser is None and family is not None:
            yield f"{with_tools.path}: tool calls are read in the form of {family}; --tool-parser names another"
        if reasoning_parser is None and reasoning is not None:
            yield f"{plain.path}: reasoning is read in the form of {reasoning}; --reasoning-parser names another"

    return shape, tuple(guesses())


def _named(parser: str) -> str | None:
    return None if parser == NONE else parser
