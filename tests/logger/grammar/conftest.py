"""Shared by the tests of grammars: a process for the embedded model, and its tokenizer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.model.config import read_model_config
from weightwarden.logger.text.tokenizer import read_tokenizer


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    return read_tokenizer(model_folder)


@pytest.fixture(scope="session")
def process(model_folder: Path) -> Iterator[GrammarProcess]:
    made = GrammarProcess(model_folder, read_model_config(model_folder).vocabulary)
    yield made
    made.close()
