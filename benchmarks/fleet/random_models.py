"""Random models of a few million weights with the embedded model's tokenizer, and honest answers of theirs."""

import shutil
from pathlib import Path

import torch
import transformers

from benchmarks.attackers.interface import answered
from benchmarks.attackers.serving import ServedModel, honestly
from benchmarks.repository import BUNDLED_POLICY, FILTERED
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


def make_random_model(folder: Path, seed: int) -> ModelIdentity:
    """Write a random model, and identify it."""
    embedded = ensure_embedded_model()
    like = transformers.AutoConfig.from_pretrained(embedded)
    config = transformers.LlamaConfig(
        vocab_size=like.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=like.bos_token_id,
        eos_token_id=like.eos_token_id,
        pad_token_id=like.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(embedded / name, folder / name)
    return identify_model(folder)


def policy_for(identity: ModelIdentity) -> Policy:
    """The bundled policy for another model. It is wider than the rounding of the simulated server, which is float32."""
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    made_for = policy.made_for.model_copy(update={"model_digest": identity.digest})
    return policy.model_copy(update={"made_for": made_for})


def answers_of(server: ServedModel, name: str, *, first: int, count: int, tokens: int) -> list[Record]:
    """Honest answers of a model to recorded prompts, each with a seed of its own.

    Args:
        server: the model, served.
        name: name of the model in the records.
        first: number of the first answer; others with other numbers differ.
        tokens: output tokens of an answer, at most.
    """
    recorded = [placed.record for placed in read_traffic(FILTERED)]
    requests = [_request(recorded[at % len(recorded)], at, name, tokens) for at in range(first, first + count)]
    outputs = server.serve(requests, honestly)
    eos_ids = server.identity.eos_ids
    return [answered(request, output, eos_ids) for request, output in zip(requests, outputs, strict=True)]


def _request(recorded: Record, number: int, name: str, tokens: int) -> Record:
    sampling = recorded.sampling.model_copy(update={"max_tokens": tokens})
    return recorded.model_copy(update={"model": name, "sampling": sampling, "seed": number})
