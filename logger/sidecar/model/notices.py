"""Notices for the operator of a model: parts that the sidecar cannot serve as the model's server would."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from weightwarden.logger.model.config import CONFIG, ModelConfig
from weightwarden.logger.sidecar.prompts.chat_template import ChatTemplate, TemplateRefusal
from weightwarden.logger.sidecar.prompts.template_files import TemplateFile
from weightwarden.logger.text.special_tokens import SpecialTokens
from weightwarden.text import printable

_OWN_RENDERERS = {
    "gpt_oss": "Harmony",
    "deepseek_v32": "DeepSeek V3.2",
    "deepseek_v4": "DeepSeek V4",
    "kimi_k3": "Kimi K3",
}
"""Model types whose chats vLLM 0.32 renders with special code instead of a chat template."""
_PROBE = [{"role": "user", "content": "a"}]


def notices_of(
    folder: Path,
    config: ModelConfig,
    template: TemplateFile,
    chat: ChatTemplate | None,
    special: SpecialTokens,
    tokenizer: Tokenizer,
) -> Iterator[str]:
    """Sentences about a model that can be served in part. Each names the file and the remedy."""
    if chat is None:
        yield f"{template.lacking}: chats are refused; give a template with --chat-template"
    elif (renderer := config.config.get("model_type")) in _OWN_RENDERERS:
        yield (
            f"{folder / CONFIG}: model_type: vLLM renders chats of {_OWN_RENDERERS[renderer]} models by code of its"
            f" own; here they are rendered by {template.path}, so prompts can differ from the server's"
        )
    if chat is not None:
        for name in sorted(chat.variables & special.unsaid):
            yield (
                f"{folder / 'tokenizer_config.json'}: {name}: missing, and the chat template reads it: empty here,"
                " and the default of the tokenizer's class in vLLM"
            )
    yield from _beyond_vocabulary(folder, config, chat, tokenizer)


def _beyond_vocabulary(
    folder: Path, config: ModelConfig, chat: ChatTemplate | None, tokenizer: Tokenizer
) -> Iterator[str]:
    added = tokenizer.get_added_tokens_decoder()
    beyond = {i: token.content for i, token in sorted(added.items()) if i >= config.vocabulary}
    if not beyond:
        return
    i, first = next(iter(beyond.items()))
    others = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
    refused = "prompts that hold them are refused"
    if chat is not None:
        try:
            ids = tokenizer.encode(chat.render(_PROBE), add_special_tokens=False).ids
        except TemplateRefusal:
            ids = []
        if not beyond.keys().isdisjoint(ids):
            refused = "the chat template writes them, so all chats are refused"
    yield (
        f"{folder / 'tokenizer.json'}: the token {printable(first)} has id {i}{others}, beyond the vocabulary of"
        f" {config.vocabulary} ({folder / CONFIG}: vocab_size): {refused}"
    )
