"""Token ids that end an answer: the tokenizer's end-of-sequence token and those of generation_config.json, as in vLLM.

Source: vLLM 0.32, `SamplingParams.update_from_generation_config` and `ModelConfig.try_get_generation_config`.
config.json counts only where there is no generation_config.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import CONFIG, GENERATION_CONFIG, ModelConfig, read_json
from weightwarden.logger.text.special_tokens import SpecialTokens
from weightwarden.text import printable

_FIELD = "eos_token_id"
_TEXT_CONFIGS = ("text_config", "decoder", "generator", "text_encoder")
"""Keys of the language model's part in a configuration of several models (transformers 5.19, `get_text_config`)."""
_OF_NO_CLASS = frozenset({"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"})
"""Tokenizer classes without a default end-of-sequence token."""
_OF_CLASS = {
    "CodeLlama": "</s>",
    "Cohere": "<|END_OF_TURN_TOKEN|>",
    "GPT2": "<|endoftext|>",
    "GPTNeoX": "<|endoftext|>",
    "Gemma": "<eos>",
    "Llama": "</s>",
    "Qwen2": "<|endoftext|>",
    "T5": "</s>",
    "XGLM": "</s>",
}
"""Default end-of-sequence token by tokenizer class, where the configuration names none (transformers 5.19)."""


def end_ids(folder: Path, config: ModelConfig, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """The token ids that end an answer of a model, ascending.

    Ids outside the vocabulary are omitted: they cannot be drawn.

    Args:
        folder: the model folder.
        config: its configuration.
        tokenizer: its tokenizer; None where it has none, and an engine could not know its end-of-sequence token either.

    Raises:
        ModelError: the files do not name the ids, or not as token ids.
    """
    ids = _of_generation(folder, config)
    own = None if tokenizer is None else own_end_id(folder, tokenizer)
    ids |= set() if own is None else {own}
    return tuple(sorted(i for i in ids if i < config.vocabulary))


def own_end_id(folder: Path, tokenizer: Tokenizer) -> int | None:
    """The tokenizer's end-of-sequence token, or None where it has none.

    Raises:
        ModelError: the tokenizer's configuration does not name it.
    """
    token = _named(folder)
    found: int | None = None if token is None else tokenizer.token_to_id(token)
    return found


def require_end_ids(folder: Path, ids: tuple[int, ...]) -> frozenset[int]:
    """The same ids, for a model that is to be served.

    Raises:
        ModelError: there are none. No answer would end by itself, and a server that ends one would be accused.
    """
    if not ids:
        raise ModelError(
            f"{folder}: nothing says which token ends an answer: name eos_token in tokenizer_config.json, or"
            f" {_FIELD} in {GENERATION_CONFIG}, as the inference server's copy has it"
        )
    return frozenset(ids)


def _of_generation(folder: Path, config: ModelConfig) -> set[int]:
    if (folder / GENERATION_CONFIG).exists():
        return _ids(config.generation.get(_FIELD), folder / GENERATION_CONFIG)
    path = folder / CONFIG
    parts = [part for name in _TEXT_CONFIGS if isinstance(part := config.config.get(name), Mapping)]
    said = [part[_FIELD] for part in (config.config, *parts[:1]) if _FIELD in part]
    if not said:
        raise ModelError(
            f"{folder}: there is no {GENERATION_CONFIG}, and {CONFIG} has no {_FIELD}: an engine would take what its"
            f' class of model has; write {GENERATION_CONFIG} with "{_FIELD}" (null for none)'
        )
    return _ids(next((value for value in said if value is not None), None), path)


def _ids(value: Any, path: Path) -> set[int]:
    """Token ids, given as one or as a list. Null is an empty set."""
    listed = value if isinstance(value, list) else [] if value is None else [value]
    for one in listed:
        if not isinstance(one, int) or isinstance(one, bool) or one < 0:
            raise ModelError(f"{path}: {_FIELD}: {printable(repr(one))} is not a token id")
    return set(listed)


def _named(folder: Path) -> str | None:
    """The end-of-sequence token by the tokenizer's configuration, or by its class."""
    special = SpecialTokens(folder)
    if "eos_token" not in special.unsaid:
        return special.named.get("eos_token")
    path = folder / "tokenizer_config.json"
    name = str((read_json(path) if path.exists() else {}).get("tokenizer_class"))
    if name in _OF_NO_CLASS:
        return None
    kind = name.removesuffix("Fast").removesuffix("Tokenizer")
    if kind not in _OF_CLASS:
        raise ModelError(
            f"{path}: names no eos_token, and which one its tokenizer_class ({printable(name)}) has is not known here:"
            ' add "eos_token" (null for none)'
        )
    return _OF_CLASS[kind]
