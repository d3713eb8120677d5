"""Rotary factors: vLLM's own numbers, for every kind and both contexts of a server."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import weightwarden
from tests.places import DATA
from tests.recorded import FILTERED, records_of
from tests.verifier.replay.transformers.tiny_models import SIZES, VOCABULARY, phi3, replayer_of, save_model
from tests.verifier.replay.vllm.rotary_vectors import BASE, HEAD, KINDS, MAX_LENGTH
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.logger.errors import ModelError
from weightwarden.logger.model.dimensions import dimensions_of
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.model.compatibility import UnfitRecord, check_fits
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.rotation import pin_rotation

VECTORS: list[dict[str, Any]] = json.loads((DATA / "vllm-rotary.json").read_text())
ROUNDING = 2e-4
"""Of an angle of at most 511 radians in float32: 2**-24 of it in each of a few operations."""


def pinned(parameters: dict[str, Any], context: int | None, config_class: Any = transformers.LlamaConfig) -> Any:
    """A small model with these rotary parameters, and its identity, after pinning for a server's context."""
    sizes = {**SIZES, "hidden_size": 4 * HEAD, "max_position_embeddings": MAX_LENGTH}
    config = config_class(**sizes, rope_parameters={"rope_theta": BASE, **parameters})
    limits = dimensions_of(config.to_dict(), Path("config.json"))
    identity = ModelIdentity(
        path=Path("tiny"),
        digest="",
        vocabulary=VOCABULARY,
        context_length=limits.context_length,
        longest_context=limits.longest_context,
        original_context=limits.original_context,
        eos_ids=(),
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    return model.model.rotary_emb, pin_rotation(model, identity, context), model


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['kind']}, context {v['context']}")
def test_cosines_and_sines_are_vllms(vector: dict[str, Any]) -> None:
    _, _, model = pinned(KINDS[vector["kind"]], vector["context"])
    positions = torch.tensor([vector["positions"]])
    with torch.no_grad():
        cos, sin = model.model.rotary_emb(torch.zeros(1), positions)
        model.model.rotary_emb(torch.zeros(1), torch.tensor([[MAX_LENGTH - 1]]))  # a longer neighbour changes nothing
        assert torch.equal(model.model.rotary_emb(torch.zeros(1), positions)[0], cos)
    for ours, theirs in ((cos, vector["cos"]), (sin, vector["sin"])):
        for half in ours[0].chunk(2, dim=-1):
            torch.testing.assert_close(half, torch.tensor(theirs), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("context", [32, MAX_LENGTH])
def test_models_that_compute_factors_in_every_pass_are_pinned_too(context: int) -> None:
    (vector,) = [v for v in VECTORS if v["kind"] == "longrope with scales" and v["context"] == context]
    _, _, model = pinned(KINDS["longrope with scales"], context, transformers.PhimoeConfig)
    with torch.no_grad():
        cos, _ = model.model.rotary_emb(torch.zeros(1), torch.tensor([vector["positions"]]))
    torch.testing.assert_close(cos[0, :, : HEAD // 2], torch.tensor(vector["cos"]), rtol=0, atol=ROUNDING)


def test_dynamic_factors_that_differ_at_every_length_are_refused() -> None:
    with pytest.raises(ModelError, match="max_trained_positions"):
        pinned({"rope_type": "dynamic", "factor": 2.0, "max_trained_positions": 64}, None)


def test_a_record_beyond_the_original_context_needs_the_servers(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", phi3())
    base = records_of(FILTERED)[0]
    record = base.model_copy(update={"prompt_token_ids": [5] * 40, "output_token_ids": [5] * 9})
    with pytest.raises(UnfitRecord, match=r"49 tokens, the model's context 48 .*--max-model-len"):
        check_fits(record, replayer_of(folder).identity)
    told = replayer_of(folder, max_model_len=512).identity
    check_fits(record, told)
    sglang = record.model_copy(update={"engine": record.engine.model_copy(update={"sampler": "sglang"})})
    with pytest.raises(UnfitRecord, match="SGLang"):
        check_fits(sglang, told)


def test_a_policy_keeps_the_context_that_it_was_made_for(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy
) -> None:
    folder = save_model(tmp_path / "tiny", phi3())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model_folder / name).read_bytes())
    made = bundled_policy.with_context(512)
    assert "max_model_len = 512" in made.to_toml()
    assert "max_model_len" not in bundled_policy.with_context(None).to_toml()
    options = ReplayOptions(model_name=str(folder), device="cpu")
    assert load_replayer(options, made).identity.longest_context == 512
    assert load_replayer(options, bundled_policy).identity.longest_context == 48
    other = ReplayOptions(model_name=str(folder), device="cpu", max_model_len=40)
    with pytest.raises(PolicyError, match="other rotary factors"):
        load_replayer(other, made)
    assert identify_model(folder).takes_long_factors(512)


def test_the_api_refuses_a_model_with_other_factors_than_the_policys(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy
) -> None:
    folder = save_model(tmp_path / "tiny", phi3())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model_folder / name).read_bytes())
    given = weightwarden.read_traffic(FILTERED)
    given = replace(given, boundary=[])  # the records are another model's
    for context, made_for in ((None, 512), (512, None)):
        model = weightwarden.load_model(folder, device="cpu", max_model_len=context)
        policy = bundled_policy.with_context(made_for)
        with pytest.raises(PolicyError, match="other rotary factors"):
            weightwarden.verify(given, policy, model)
