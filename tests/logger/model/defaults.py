"""What transformers' configuration classes take where a file is silent: `python -m tests.logger.model.defaults`."""

import json
from collections.abc import Iterable

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from tests.places import ROOT
from weightwarden.logger.model.dimensions import CONTEXT_KEYS

TABLE = ROOT / "logger" / "model" / "defaults.json"


def generating_types() -> list[str]:
    """The model types that generate text."""
    return sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES})


def defaults_of_transformers(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Vocabulary, context and original context (tokens) by model type; of models of images and text, the text's."""
    found: dict[str, dict[str, int]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            text = CONFIG_MAPPING[name]().get_text_config()
        except (KeyError, ValueError, TypeError, AttributeError, StrictDataclassError):  # it has no defaults
            continue
        lengths = [value for key in CONTEXT_KEYS if isinstance(value := getattr(text, key, None), int)]
        values = {
            "vocabulary": getattr(text, "vocab_size", None),
            "context": min(lengths) if lengths else None,
            "original": getattr(text, "original_max_position_embeddings", None),
        }
        row = {key: value for key, value in values.items() if isinstance(value, int)}
        if "vocabulary" in row:
            found[name] = row
            if text.model_type not in found:
                waiting.append(text.model_type)
    return dict(sorted(found.items()))


def as_json(table: dict[str, dict[str, int]]) -> str:
    """One line a model type."""
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TABLE.write_text(as_json(defaults_of_transformers(generating_types())), encoding="ascii")
