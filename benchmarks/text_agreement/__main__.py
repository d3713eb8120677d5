"""Text agreement: random token sequences on real and small tokenizers, in the sidecar, the verifier and vLLM.

Fails if a difference is not a named exception. `--vllm-python` is an environment with vLLM 0.32.
"""

import argparse
import importlib.metadata
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.recording.registry_packages import TOKENIZERS, model_folder
from benchmarks.text_agreement.agreement import Agreement, EngineText, compare
from benchmarks.text_agreement.small_tokenizers import small_tokenizers
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.model.tokenizer import load_tokenizer

REAL = ("llama2", "llama3_1", "qwen3", "gemma3", "deepseek_v3", "gptoss")
BEYOND = 16
"""Number of ids that a model has beyond its tokenizer's."""


def real_tokenizers(model: str) -> tuple[ModelTokenizer, ModelTokenizer]:
    """A published model's tokenizer in the forms of the sidecar and of the verifier."""
    folder = model_folder(TOKENIZERS[model])
    backend = read_tokenizer(folder)
    vocabulary = backend.get_vocab_size() + BEYOND
    identity = ModelIdentity(path=folder, digest="", vocabulary=vocabulary, context_length=None, eos_ids=())
    return ModelTokenizer.of(backend, vocabulary), load_tokenizer(identity)


def _said(name: str, found: Agreement) -> None:
    print(f"{name}: {found.cases} sequences, {sum(found.exceptions.values())} exceptions")
    for why, count in found.exceptions.most_common():
        print(f"    {count}: {why}")
    for problem in found.differences[:5]:
        print(f"    DIFFERENT: {problem}")


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm-python", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=10_000, help="of all tokenizers together")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    small = small_tokenizers()
    share = arguments.sequences // (2 * len(REAL))
    share_of_small = (arguments.sequences - share * len(REAL)) // len(small) + 1
    print(f"seed {arguments.seed}; tokenizers {importlib.metadata.version('tokenizers')}; packages:")
    for model in REAL:
        package = TOKENIZERS[model]
        print(f"    {package.name}@{package.version} {package.integrity}")
    total, exceptions, different = 0, Counter[str](), 0
    engine = EngineText(arguments.vllm_python)
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*REAL, *small):
            random = Random(f"{arguments.seed} {name}")  # noqa: S311
            if name in small:
                made = ModelTokenizer.of(small[name], small[name].get_vocab_size() + BEYOND)
                found = compare(made, made, share_of_small, random, engine, Path(scratch))
            else:
                found = compare(*real_tokenizers(name), share, random, engine, Path(scratch))
            _said(name, found)
            total, different = total + found.cases, different + len(found.differences)
            exceptions += found.exceptions
    engine.close()
    print(f"all: {total} sequences, {sum(exceptions.values())} named exceptions, {different} other differences")
    for why, count in exceptions.most_common():
        print(f"    {count}: {why}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
