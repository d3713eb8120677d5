"""Vocabulary and context length of a model, from its configuration and the defaults of its model type."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from weightwarden.logger.errors import ModelError

CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""Configuration keys of the context length. vLLM takes the least of them (0.32.0, `derive_max_model_len_and_key`)."""
_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_SCALED_ROTATIONS = frozenset({"linear", "ntk", "proportional"})
"""Rotary embeddings whose `factor` multiplies the context length."""


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """Vocabulary and context length of a model.

    Attributes:
        vocabulary: width of the logits, tokens.
        context_length: context length of a server without further settings, tokens, as in vLLM; None when unknown.
        longest_context: largest context length that a server can be set to, tokens; None when unknown.
        original_context: context length up to which a server uses the short factors of its rotary embedding (LongRoPE),
            tokens; None for a model without them.
    """

    vocabulary: int
    context_length: int | None
    longest_context: int | None
    original_context: int | None


def text_part(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The part of a configuration that describes the language model, in a model of images and text.

    Raises:
        ModelError: that part is not an object.
    """
    thinker = config.get("thinker_config")
    whole = thinker if isinstance(thinker, dict) else config
    for name in _TEXT_PARTS:
        part = whole.get(name)
        if part:
            if not isinstance(part, dict):
                raise ModelError(f"{path}: {name}: not an object")
            return {"model_type": whole.get("model_type"), **part}
    return whole


def dimensions_of(config: dict[str, Any], path: Path) -> Dimensions:
    """A model's dimensions.

    A number that the configuration omits has the default of its class, as in transformers and vLLM: files of Gemma 3
    name neither vocabulary nor context.

    Args:
        config: content of config.json.
        path: the configuration's file, for messages.

    Raises:
        ModelError: the vocabulary is missing, or a number is invalid.
    """
    text = text_part(config, path)
    usual = _defaults().get(str(text.get("model_type")), {})
    vocabulary = text.get("vocab_size", usual.get("vocabulary", config.get("vocab_size")))
    if vocabulary is None:
        raise ModelError(
            f"{path}: vocab_size: missing, and unknown for models of type {text.get('model_type')!r}: add it, the"
            " number of rows of the model's output head"
        )
    if not _is_count(vocabulary) or vocabulary < 2:
        raise ModelError(f"{path}: vocab_size: {vocabulary!r} is not a vocabulary size")

    named = [text[key] for key in CONTEXT_KEYS if text.get(key) is not None]
    for value in named:
        if not _is_count(value):
            raise ModelError(f"{path}: {value!r} is not a context length")
    own = text.get("model_max_length") or (min(named) if named else usual.get("context"))
    rotations = rotations_of(text)
    if own is None:
        return Dimensions(vocabulary=vocabulary, context_length=None, longest_context=None, original_context=None)
    kinds = {kind_of(rotation) for rotation in rotations}
    original = None
    if "longrope" in kinds:
        attribute = text.get("original_max_position_embeddings", usual.get("original"))
        in_rotation = [rotation.get("original_max_position_embeddings") for rotation in rotations]
        original = next((value for value in (*in_rotation, attribute, own) if _is_count(value)), own)
        return Dimensions(
            vocabulary=vocabulary,
            context_length=attribute if _is_count(attribute) else own,
            longest_context=own,
            original_context=original,
        )
    # "dynamic" is not among them: its factor applies only beyond the model's own context.
    if not str(text.get("model_type")).startswith("gemma3"):  # Gemma 3's context length is scaled already
        scaled = [rotation.get("factor") for rotation in rotations if kind_of(rotation) in _SCALED_ROTATIONS]
        own = int(own * next((value for value in reversed(scaled) if _is_number(value)), 1))
    return Dimensions(vocabulary=vocabulary, context_length=own, longest_context=own, original_context=None)


def rotations_of(text: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptions of a model's rotary embeddings: one, or one for each type of layer."""
    found = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(found, dict):
        return []
    by_layer = [one for one in found.values() if isinstance(one, dict)]
    return by_layer or [found]


def kind_of(rotation: dict[str, Any]) -> str:
    """The type of a rotary embedding, with "su" as "longrope", its later name."""
    kind = str(rotation.get("rope_type", rotation.get("type", "default")))
    longrope = kind in ("su", "longrope") or (kind == "yarn" and "long_factor" in rotation)
    return "longrope" if longrope else kind


@cache
def _defaults() -> dict[str, dict[str, int]]:
    """Default vocabulary and context by model type, from transformers' classes."""
    loaded: dict[str, dict[str, int]] = json.loads(
        (files("weightwarden.logger.model") / "defaults.json").read_text("ascii")
    )
    return loaded


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
