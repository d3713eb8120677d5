"""One text: what `python -m benchmarks.text_agreement` claims of ours, with fewer sequences and without an engine."""

from random import Random

import pytest

from benchmarks.recording.registry_packages import TOKENIZERS
from benchmarks.text_agreement.agreement import own_difference, stopping_rule
from benchmarks.text_agreement.cases import Cases, outcome
from benchmarks.text_agreement.small_tokenizers import small_tokenizers
from tests.registry_packages import required_folder
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer


def assert_one_text(sidecar: ModelTokenizer, verifier: ModelTokenizer, count: int) -> None:
    random, rule = Random(3), stopping_rule(verifier)
    cases = Cases(sidecar, random)
    for _ in range(count):
        case = cases.one()
        assert own_difference(sidecar, verifier, rule, case, outcome(sidecar, case), random) is None, case


@pytest.mark.parametrize("kind", small_tokenizers())
def test_sidecar_and_verifier_make_one_text_by_every_decoder(kind: str) -> None:
    small = small_tokenizers()[kind]
    made = ModelTokenizer.of(small, small.get_vocab_size() + 2)
    assert_one_text(made, made, 60)


@pytest.mark.parametrize("model", ["llama2", "deepseek_v3"])
def test_sidecar_and_verifier_make_one_text_of_a_published_tokenizer(model: str) -> None:
    """deepseek_v3's class is LlamaTokenizerFast over a byte-level tokenizer.json, as DeepSeek-R1-Distill-Llama's."""
    folder = required_folder(TOKENIZERS[model]) / "models"
    backend = read_tokenizer(folder)
    vocabulary = backend.get_vocab_size()
    identity = ModelIdentity(path=folder, digest="", vocabulary=vocabulary, context_length=None, eos_ids=())
    verifier = load_tokenizer(identity)
    ids = verifier.encode_answer("Hello world")
    assert verifier.decode(ids, skip_special_tokens=True, prompt=ids) == "Hello world"
    assert_one_text(ModelTokenizer.of(backend, vocabulary), verifier, 200)
