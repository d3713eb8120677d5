"""Vocabulary and context from configurations as they are found: silent, composite, scaled, or wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.logger.model.defaults import TABLE, defaults_of_transformers
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_model_config
from weightwarden.logger.model.dimensions import dimensions_of

PATH = Path("config.json")
GEMMA_3_4B: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560,
        "model_type": "gemma3_text",
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
}
PHI_3_MINI_128K: dict[str, Any] = {
    "model_type": "phi3",
    "vocab_size": 32064,
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [2.0]},
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (GEMMA_3_4B, (262208, 131072, 131072, None)),
        (PHI_3_MINI_128K, (32064, 4096, 131072, 4096)),
        ({"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024}, (50257, 1024, 1024, None)),
        ({"model_type": "mpt", "vocab_size": 50432, "max_seq_len": 8192}, (50432, 8192, 8192, None)),
        (
            {"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}},
            (32064, 2048, 2048, None),
        ),
        ({"model_type": "qwen2_5_vl", "vocab_size": 152064, "max_position_embeddings": 9}, (152064, 9, 9, None)),
        ({"thinker_config": {"text_config": {"vocab_size": 9}}}, (9, None, None, None)),
        (
            {"vocab_size": 9, "max_position_embeddings": 10, "rope_scaling": {"type": "linear", "factor": 4.0}},
            (9, 40, 40, None),
        ),
        (
            {"vocab_size": 9, "max_position_embeddings": 10, "rope_scaling": {"type": "dynamic", "factor": 4.0}},
            (9, 10, 10, None),
        ),
        (
            {"vocab_size": 9, "max_position_embeddings": 10, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            (9, 10, 10, None),
        ),
        ({"vocab_size": 9, "model_type": "mamba"}, (9, None, None, None)),
    ],
)
def test_dimensions_are_what_vllm_takes(config: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    found = dimensions_of(config, PATH)
    assert (found.vocabulary, found.context_length, found.longest_context, found.original_context) == expected


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "of no known kind"}, "vocab_size: missing, and unknown for models of type 'of no known kind'"),
        ({}, "vocab_size: missing"),
        ({"vocab_size": "211"}, "not a vocabulary size"),
        ({"vocab_size": True}, "not a vocabulary size"),
        ({"vocab_size": 1}, "not a vocabulary size"),
        ({"vocab_size": 9, "max_position_embeddings": "4k"}, "not a context length"),
        ({"vocab_size": 9, "text_config": [1]}, "text_config: not an object"),
    ],
)
def test_numbers_that_are_none_are_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=said):
        read_model_config(tmp_path)


def test_the_defaults_are_those_of_transformers_classes() -> None:
    """Of a sample of the model types that public files are silent about; the whole table is made by the same code."""
    table = json.loads(TABLE.read_text())
    names = [
        "gemma3",
        "gemma3_text",
        "gemma3n",
        "llama",
        "llama4",
        "mistral3",
        "phi3",
        "qwen2_5_vl",
        "qwen3_vl",
        "glm4v",
    ]
    for name, row in defaults_of_transformers(names).items():
        assert table[name] == row
