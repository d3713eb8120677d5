"""The served model as the trusted side knows it: its tokenizer, chat template and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.logger.model.config import read_model_config
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape
from weightwarden.logger.sidecar.model.answer_shape import shape_of
from weightwarden.logger.sidecar.model.generation_defaults import GenerationDefaults, generation_defaults
from weightwarden.logger.sidecar.model.notices import notices_of
from weightwarden.logger.sidecar.prompts.chat_template import ChatTemplate
from weightwarden.logger.sidecar.prompts.template_files import TemplateFile, find_template
from weightwarden.logger.text.end_ids import end_ids, require_end_ids
from weightwarden.logger.text.special_tokens import SpecialTokens
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer
from weightwarden.text import printable


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model as the sidecar serves it. None of it comes from the inference server.

    Attributes:
        name: the model's name for clients and in records.
        vocabulary: width of the logits, tokens.
        context_length: tokens of prompt and answer together.
        eos_ids: tokens that end an answer.
        tokenizer: the trusted tokenizer.
        chat: the chat template, or None when the model has none.
        chat_with_tools: the template of chats with tools, which can be another.
        shape: the form in which the model reasons and calls tools.
        defaults: values for parameters that a request omits.
        adapters: low-rank adapters on the model, by their names for clients.
        notices: sentences for the operator: parts that cannot be served, with the reason.
        guesses: sentences for the operator: what was guessed from the chat template.
    """

    name: str
    vocabulary: int
    context_length: int
    eos_ids: frozenset[int]
    tokenizer: ModelTokenizer
    chat: ChatTemplate | None
    chat_with_tools: ChatTemplate | None
    shape: AnswerShape
    defaults: GenerationDefaults
    adapters: Mapping[str, AdapterFiles] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str,
        context_length: int | None = None,
        chat_template: Path | None = None,
        neutral_defaults: bool = False,
        tool_parser: str | None = None,
        reasoning_parser: str | None = None,
        adapters: Mapping[str, AdapterFiles] | None = None,
    ) -> "ServedModel":
        """The model of a folder. Its weights are not needed.

        Args:
            folder: the model folder.
            name: the model's name for clients and in records.
            context_length: the server's context length, where it is less than the model's.
            chat_template: file with another chat template.
            neutral_defaults: True: a request without sampling parameters gets temperature 1 and no filters, instead of
                the values of generation_config.json.
            tool_parser: family of the model's tool calls, or `none`. None: guessed from the chat template.
            reasoning_parser: family of the model's reasoning, or `none`. None: guessed from the chat template.
            adapters: low-rank adapters on the model, by name.

        Raises:
            ModelError: a file is missing or malformed, no token is known to end an answer, no context length is known,
                or an adapter has the model's name.
        """
        if adapters and name in adapters:
            raise ModelError(f"{adapters[name].folder}: {printable(name)} is the model's own name: rename the adapter")
        config = read_model_config(folder)
        limit = context_length or config.context_length
        if limit is None:
            raise ModelError(f"{folder}: config.json names no context length: give the server's (--max-model-len)")
        tokenizer = read_tokenizer(folder)
        special = SpecialTokens(folder)
        template = find_template(folder, chat_template)
        chat = _template(template, special)
        with_tools, chat_with_tools = find_template(folder, chat_template, tools=True), chat
        if with_tools.text != template.text:
            chat_with_tools = _template(with_tools, special)
        shape, guesses = shape_of(with_tools, template, tokenizer, tool_parser, reasoning_parser)
        return cls(
            name=name,
            vocabulary=config.vocabulary,
            context_length=limit,
            eos_ids=require_end_ids(folder, end_ids(folder, config, tokenizer)),
            tokenizer=ModelTokenizer.of(tokenizer, config.vocabulary),
            chat=chat,
            chat_with_tools=chat_with_tools,
            shape=shape,
            guesses=guesses,
            adapters=adapters or {},
            defaults=GenerationDefaults() if neutral_defaults else generation_defaults(folder, config.generation),
            notices=tuple(notices_of(folder, config, template, chat, special, tokenizer)),
        )

    def tokenize(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """The token ids of a text. Other threads run meanwhile.

        Raises:
            UnicodeEncodeError: the text holds half a surrogate pair.
        """
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def adapter_of(self, name: str) -> AdapterFiles | None:
        """The adapter that a request of that model asks for; None for the model itself.

        Raises:
            KeyError: neither the model nor an adapter has that name.
        """
        return None if name == self.name else self.adapters[name]

    @property
    def longest_token(self) -> int:
        """Largest number of characters of one token."""
        return self.tokenizer.table.longest


def _template(file: TemplateFile, special: SpecialTokens) -> ChatTemplate | None:
    return None if file.text is None else ChatTemplate(file.text, special.named, path=file.path)
