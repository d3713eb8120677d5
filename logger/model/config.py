"""Configuration files of a Hugging Face model folder. No weights are read, and no code is run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.dimensions import dimensions_of

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
MAX_JSON_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model's configuration.

    Attributes:
        config: content of config.json.
        generation: content of generation_config.json; empty when there is none.
        vocabulary: width of the logits, tokens.
        context_length: default context length of a server, tokens, or None (`Dimensions`).
        longest_context: largest context length of a server, tokens, or None (`Dimensions`).
        original_context: context length with short rotary factors, tokens, or None (`Dimensions`).
    """

    config: dict[str, Any]
    generation: dict[str, Any]
    vocabulary: int
    context_length: int | None
    longest_context: int | None
    original_context: int | None

    @property
    def dtype(self) -> str | None:
        """The weights' dtype as the configuration names it, or None."""
        return next((d for d in (self.config.get("dtype"), self.config.get("torch_dtype")) if isinstance(d, str)), None)


def read_model_config(folder: Path) -> ModelConfig:
    """The configuration of a model folder.

    Raises:
        ModelError: there is no such folder, or a file is invalid.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    config = read_json(folder / CONFIG)
    generation = read_json(folder / GENERATION_CONFIG) if (folder / GENERATION_CONFIG).exists() else {}
    dimensions = dimensions_of(config, folder / CONFIG)
    return ModelConfig(
        config=config,
        generation=generation,
        vocabulary=dimensions.vocabulary,
        context_length=dimensions.context_length,
        longest_context=dimensions.longest_context,
        original_context=dimensions.original_context,
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelError: the file is unreadable, too large, or no object.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_JSON_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_JSON_BYTES else None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object of at most {MAX_JSON_BYTES} bytes")
    return value
