"""The engine's own detokenizer and stop strings, without a server."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.text_agreement.agreement import EngineText, compare
from benchmarks.text_agreement.cases import Case, outcome
from benchmarks.text_agreement.small_tokenizers import small_tokenizers
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer
from weightwarden.sampler.params import SamplingParams

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineText]:
    made = EngineText(Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"]))
    yield made
    made.close()


@pytest.fixture(scope="module")
def embedded(model_folder: Path) -> ModelTokenizer:
    return ModelTokenizer.of(read_tokenizer(model_folder), 49_152)


def test_text_and_endings_are_the_engines_but_for_named_exceptions(
    engine: EngineText, embedded: ModelTokenizer, tmp_path: Path
) -> None:
    small = {name: ModelTokenizer.of(one, one.get_vocab_size()) for name, one in small_tokenizers().items()}
    for name, tokenizer in {**small, "embedded": embedded}.items():
        found = compare(tokenizer, tokenizer, 150, Random(f"text {name}"), engine, tmp_path)
        assert not found.differences, (name, found.differences[:3])


@pytest.mark.parametrize(
    ("stops", "named"),
    [(["abcd", "bc"], "bc"), (["bcd", "abcd"], "bcd"), (["abcd", "bcd"], "abcd"), (["d", "c"], "c")],
)
def test_the_stop_string_that_is_complete_first_counts(
    engine: EngineText, embedded: ModelTokenizer, tmp_path: Path, stops: list[str], named: str
) -> None:
    token = embedded.backend.token_to_id("abcd")
    ids = [token] if token is not None else embedded.encode_answer("abcd")
    case = Case(prompt=[1], ids=ids, sampling=SamplingParams(stop=stops, max_tokens=9), step=len(ids))
    embedded.backend.save(str(tmp_path / "tokenizer.json"))
    (theirs,) = engine.of(tmp_path / "tokenizer.json", [case])
    ours = outcome(embedded, case)
    assert ours == theirs
    assert ours.stop == named
