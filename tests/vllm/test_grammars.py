"""Answers under grammars of a real vLLM server that is pinned to guidance: exact replay, and tampering."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.grammars.examples import EXAMPLES, SAMPLINGS
from benchmarks.grammars.matchers import GrammarMatchers
from benchmarks.recording.grammars import answers, guidance_version, requests_of
from tests.vllm.commands import invoke, written
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

MAX_TOKENS = 32


@pytest.fixture(scope="module")
def constrained(server: VllmClient, model_folder: Path) -> list[Record]:
    """One answer of each grammar, under the sampling settings in turn."""
    identity = identify_model(model_folder)
    tokenizer: Any = load_tokenizer(identity)
    engine = {"name": "vllm", "version": server.version(), "sampler": "vllm-cpu"}
    version = guidance_version(Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"]))
    requests = requests_of(EXAMPLES, tokenizer, engine, version, each=1, seed=7)
    short = [
        request.model_copy(update={"sampling": request.sampling.model_copy(update={"max_tokens": MAX_TOKENS})})
        for at, request in enumerate(requests)
        if at % len(SAMPLINGS) == at // len(SAMPLINGS) % len(SAMPLINGS)
    ]
    return answers(server, short, identity.eos_ids, "with grammars")


@pytest.fixture(scope="module")
def policy(server: VllmClient, constrained: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exact policy of the answers: that it is written at all says that every token is equal, or a tie."""
    folder = tmp_path_factory.mktemp("policy")
    result = invoke(
        server, "calibrate", written(folder / "t.jsonl", constrained), "--exact", "--out", folder / "exact.toml"
    )
    assert result.exit_code == 0, result.output
    return folder / "exact.toml"


def test_honest_answers_under_grammars_are_equal_and_none_is_outside(
    server: VllmClient, constrained: list[Record], policy: Path, tmp_path: Path
) -> None:
    found = _verified(server, constrained, policy, tmp_path)
    assert found["flagged"] == []
    assert found["suspicious"] == found["dangerous"] == 0
    assert found["statistics"]["rates"]["mismatch"]["value"] < 0.02
    assert found["charged_fraction"] < 0.005


@pytest.mark.parametrize("allowed", [True, False])
def test_one_replaced_token_flags_its_record_and_no_other(
    server: VllmClient, model_folder: Path, constrained: list[Record], policy: Path, tmp_path: Path, allowed: bool
) -> None:
    matchers, rng = GrammarMatchers(identify_model(model_folder)), np.random.default_rng(3)
    records = [record for record in constrained if record.grammar is not None and record.grammar.kind == "json"]
    victims = [1, 4, 7]
    for victim in victims:
        records[victim] = _altered(records[victim], matchers, rng, allowed=allowed)
    found = _verified(server, records, policy, tmp_path)
    assert [flagged["record"] for flagged in found["flagged"]] == victims
    for flagged in found["flagged"]:
        assert ("outside the grammar" in json.dumps(flagged)) == (not allowed)


def _altered(record: Record, matchers: GrammarMatchers, rng: np.random.Generator, *, allowed: bool) -> Record:
    """The record with one token replaced by a random one that the grammar allows, or forbids."""
    assert record.grammar is not None
    output = record.output_token_ids
    for _ in range(10_000):
        position = int(rng.integers(1, len(output) - 1))
        matcher = matchers.start(record.grammar)
        assert matcher.consume_tokens(output[:position])
        allowed_v = matchers.allowed(matcher)
        token = int(rng.choice(np.flatnonzero(allowed_v == allowed)))
        said = [*output[:position], token, *output[position + 1 :]]
        valid = matcher.validate_tokens(said[position:]) == len(said) - position
        if token != output[position] and (valid or not allowed):
            return record.model_copy(update={"output_token_ids": said})
    raise AssertionError("no token can be replaced")


def _verified(server: VllmClient, records: list[Record], policy: Path, folder: Path) -> dict[str, Any]:
    report = folder / "r.json"
    traffic = written(folder / "t.jsonl", records)
    result = invoke(server, "run", traffic, "--policy", policy, "--unsafe-unsigned", "--json", report)
    assert report.exists(), result.output
    found: dict[str, Any] = json.loads(report.read_text())
    return found
