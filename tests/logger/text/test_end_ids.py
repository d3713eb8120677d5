"""Which tokens end an answer, of folders as fine-tunes and multimodal models have them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.text_agreement.small_tokenizers import sentence_piece
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.config import read_model_config
from weightwarden.logger.text.end_ids import end_ids, require_end_ids
from weightwarden.logger.text.tokenizer import read_tokenizer

EOS, A, B = 2, 260, 261
"""Ids of </s>, "a" and "b" in the small tokenizer."""
CONFIG = {"vocab_size": 300}


def found(folder: Path, config: Any, generation: Any, tokenizer: Any) -> tuple[int, ...]:
    """What ends an answer of a folder with these files; None for a file that is not there."""
    for name, content in (
        ("config.json", config),
        ("generation_config.json", generation),
        ("tokenizer_config.json", tokenizer),
    ):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    sentence_piece().save(str(folder / "tokenizer.json"))
    return end_ids(folder, read_model_config(folder), read_tokenizer(folder))


@pytest.mark.parametrize(
    ("config", "generation", "tokenizer", "expected"),
    [
        # the tokenizer's and generation_config's; config.json's is no matter
        ({**CONFIG, "eos_token_id": B}, {"eos_token_id": [A]}, {"eos_token": "</s>"}, (EOS, A)),
        ({**CONFIG, "eos_token_id": B}, {"eos_token_id": A}, {"eos_token": None}, (A,)),
        ({**CONFIG, "eos_token_id": B}, {}, {"eos_token": "</s>"}, (EOS,)),
        ({**CONFIG, "eos_token_id": B}, {"eos_token_id": None}, {"eos_token": {"content": "a"}}, (A,)),
        # without generation_config.json, config.json's, wherever it stands
        ({**CONFIG, "eos_token_id": [A, B]}, None, {"eos_token": None}, (A, B)),
        ({"eos_token_id": A, "text_config": CONFIG}, None, {"eos_token": None}, (A,)),
        ({"text_config": {**CONFIG, "eos_token_id": B}}, None, {"eos_token": "</s>"}, (EOS, B)),
        ({"eos_token_id": A, "text_config": {**CONFIG, "eos_token_id": B}}, None, {"eos_token": None}, (A,)),
        ({"eos_token_id": None, "text_config": {**CONFIG, "eos_token_id": B}}, None, {"eos_token": None}, (B,)),
        # what the tokenizer's class has where its configuration names none
        (CONFIG, {}, {"tokenizer_class": "LlamaTokenizerFast"}, (EOS,)),
        (CONFIG, {"eos_token_id": A}, {"tokenizer_class": "PreTrainedTokenizerFast"}, (A,)),
        (CONFIG, {"eos_token_id": A}, {"tokenizer_class": "GPT2Tokenizer"}, (A,)),  # which is not in the vocabulary
        # beyond the logits, where nothing is drawn
        (CONFIG, {"eos_token_id": [A, 300]}, {"eos_token": None}, (A,)),
    ],
)
def test_the_engines_end_ids(
    tmp_path: Path, config: Any, generation: Any, tokenizer: Any, expected: tuple[int, ...]
) -> None:
    assert found(tmp_path, config, generation, tokenizer) == expected


@pytest.mark.parametrize(
    ("config", "generation", "tokenizer", "message"),
    [
        (CONFIG, {"eos_token_id": "2"}, {"eos_token": None}, "generation_config.json: eos_token_id: '2' is not"),
        (CONFIG, {"eos_token_id": ["2"]}, {"eos_token": None}, "generation_config.json: eos_token_id: '2' is not"),
        (CONFIG, {"eos_token_id": True}, {"eos_token": None}, "eos_token_id: True is not"),
        (CONFIG, {"eos_token_id": -1}, {"eos_token": None}, "eos_token_id: -1 is not"),
        ({**CONFIG, "eos_token_id": "</s>"}, None, {"eos_token": None}, "config.json: eos_token_id: '</s>' is not"),
        (CONFIG, None, {"eos_token": "</s>"}, "no generation_config.json, and config.json has no eos_token_id"),
        (CONFIG, {}, {}, "names no eos_token"),
        (CONFIG, {}, None, "names no eos_token"),
        (CONFIG, {}, {"tokenizer_class": "OwnTokenizer"}, "names no eos_token"),
        (CONFIG, {}, {"eos_token": 2}, "eos_token"),
    ],
)
def test_files_that_do_not_say_it_are_refused(
    tmp_path: Path, config: Any, generation: Any, tokenizer: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        found(tmp_path, config, generation, tokenizer)


def test_a_model_whose_answers_never_end_is_not_served(tmp_path: Path) -> None:
    ids = found(tmp_path, CONFIG, {"eos_token_id": None}, {"eos_token": None})
    assert ids == ()
    with pytest.raises(ModelError, match="nothing says which token ends an answer"):
        require_end_ids(tmp_path, ids)
