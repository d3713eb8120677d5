"""Log probabilities through the sidecar: a real vLLM's own values, and a score of lm-evaluation-harness."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.free_port import free_port
from benchmarks.recording.vllm_server import settings_here, vllm_server
from tests.clients.harness import DirectModel, clients_python, harness_scores
from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.vllm.commands import CONTEXT
from weightwarden.logger.doctor.files import now_utc
from weightwarden.logger.doctor.finding import Status
from weightwarden.logger.record import Logprobs
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.doctor import examine
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

NOISE = 0.05
"""Largest difference of one server's log probabilities of a token, in batches of different sizes."""
MODELS_NOISE = 0.05
"""Largest difference of a choice's log-likelihood to transformers, both in float32."""


@pytest.fixture(scope="module")
def values_server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmClient]:
    """A server in the mode of log probabilities; that of the other tests gives raw logits.

    It has float32, as the model that is asked directly: in bfloat16, a near tie of two choices can turn.
    """
    python = Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"])
    log = tmp_path_factory.mktemp("values") / "server.log"
    arguments = ("--logprobs-mode", "raw_logprobs", "--enforce-eager", "--max-model-len", str(CONTEXT))
    with vllm_server(python, model_folder, log, arguments, settings=settings_here("float32")) as client:
        client.served_model()
        yield client


@pytest.fixture(scope="module")
def settings(values_server: VllmClient, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with one server as the inference server and as the trusted one."""
    return settings_in(
        tmp_path_factory.mktemp("sidecar"),
        model_folder,
        values_server.url,
        upstream_model=values_server.served_model()[0],
        logprobs_url=values_server.url,
        max_model_len=CONTEXT,
    )


@pytest.fixture(scope="module")
def sidecar(settings: Settings) -> Iterator[Sidecar]:
    with running(settings) as one:
        yield one


def test_the_values_and_tokens_are_vllms(sidecar: Sidecar, values_server: VllmClient) -> None:
    prompt = "The capital of France is Paris, and the capital of Italy is"
    asked = {"prompt": prompt, "max_tokens": 12, "temperature": 0, "logprobs": 3, "echo": True}
    own = httpx2.post(
        f"{values_server.url}/v1/completions",
        json={"model": values_server.served_model()[0], **asked},
        timeout=300,
        trust_env=False,
    ).json()["choices"][0]
    [through] = sidecar.client.post("/v1/completions", json={"model": "small", **asked}, timeout=300).json()["choices"]
    assert through["text"] == own["text"]
    for name in ("tokens", "text_offset"):
        assert through["logprobs"][name] == own["logprobs"][name]
    assert through["logprobs"]["token_logprobs"][0] is own["logprobs"]["token_logprobs"][0] is None
    assert through["logprobs"]["token_logprobs"][1:] == pytest.approx(own["logprobs"]["token_logprobs"][1:], abs=NOISE)
    for mine, vllms in zip(through["logprobs"]["top_logprobs"][1:], own["logprobs"]["top_logprobs"][1:], strict=True):
        assert next(iter(mine)) == next(iter(vllms))
        assert sorted(mine.values()) == pytest.approx(sorted(vllms.values()), abs=NOISE)
    assert sidecar.records()[-1].logprobs == Logprobs(top=3, prompt=True)


def test_a_chats_values_are_those_of_its_own_tokens(sidecar: Sidecar) -> None:
    asked: dict[str, Any] = {"max_tokens": 10, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    [choice] = sidecar.chat("What is the capital of France?", **asked).json()["choices"]
    content = choice["logprobs"]["content"]
    record = sidecar.records()[-1]
    assert len(content) == len(record.output_token_ids)
    assert b"".join(bytes(one["bytes"]) for one in content).decode().startswith(choice["message"]["content"])
    for one in content:  # greedy: the likeliest token, up to noise
        assert one["logprob"] >= one["top_logprobs"][0]["logprob"] - NOISE
        assert len(one["top_logprobs"]) == 2


def test_the_doctor_finds_it_fit_and_that_of_raw_logits_unfit(
    settings: Settings, server: VllmClient, values_server: VllmClient
) -> None:
    settings = replace(settings, listen=Address(host="127.0.0.1", port=free_port()))
    [finding] = [one for one in examine(settings, now_utc) if one.check == "logprobs"]
    assert finding.status is Status.OK, finding
    name = server.served_model()[0]
    unfit = replace(settings, logprobs_url=server.url, logprobs_model=name)
    [finding] = [one for one in examine(unfit, now_utc) if one.check == "logprobs"]
    assert finding.advice == "start it with --logprobs-mode raw_logprobs"


def test_lm_evaluation_harness_finds_the_models_own_score(sidecar: Sidecar, model_folder: Path, tmp_path: Path) -> None:
    python = clients_python()
    if not python.exists():
        pytest.skip(f"{python}: no such Python; `make test-clients` makes it")
    before = len(sidecar.records())
    found, direct = harness_scores(python, sidecar.url, model_folder, tmp_path), DirectModel(model_folder).scores()
    print(f"score {found.accuracy} through the sidecar, {direct.accuracy} directly, {len(found.values)} items")
    pairs = zip(chain(*found.values), chain(*direct.values), strict=True)
    print(f"largest difference of a log-likelihood: {max(abs(a[0] - b[0]) for a, b in pairs):.5f}")
    assert (found.accuracy, found.per_character) == (direct.accuracy, direct.per_character)
    records = sidecar.records()[before:]
    assert len(records) == sum(map(len, direct.values))
    prefill = sum(len(record.prompt_token_ids) + len(record.output_token_ids) for record in records)
    print(f"{prefill} tokens of prefill for {len(records)} requests, {prefill / len(records):.1f} each")
    for through, own in zip(found.values, direct.values, strict=True):
        assert [value for value, _ in through] == pytest.approx([value for value, _ in own], abs=MODELS_NOISE)
