"""The prefix cache of a real vLLM: one client asks what another one has asked, by the time to a first token."""

import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.vllm.commands import CONTEXT
from tests.vllm.test_sidecar import served
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdefgh"
CANDIDATES, ROUNDS = 4, 6


def cached_tokens(server: VllmClient) -> float:
    """The prompt tokens that the server has taken from its cache."""
    text = httpx2.get(f"{server.url}/metrics", trust_env=False).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "vllm:prefix_cache_hits_total"
    )


def guessed(url: str, rng: np.random.Generator) -> list[bool]:
    """For each of some rounds whether the candidate that answers Bob first is the prompt that Alice asked."""

    def seconds(key: str, prompt: list[int]) -> float:
        body = {"model": "small", "prompt": prompt, "max_tokens": 1, "temperature": 0}
        begun = time.perf_counter()
        answer = httpx2.post(
            f"{url}/v1/completions", json=body, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=300
        )
        assert answer.status_code == 200, answer.text
        return time.perf_counter() - begun

    found = []
    for _ in range(ROUNDS):
        prompts = rng.integers(1000, 40_000, (CANDIDATES, CONTEXT - 16)).tolist()
        asked = int(rng.integers(CANDIDATES))
        seconds(ALICE, prompts[asked])
        found.append(int(np.argmin([seconds(BOB, prompt) for prompt in prompts])) == asked)
    return found


@pytest.mark.parametrize("salt", ["off", "tenant"])
def test_a_client_sees_in_the_cache_what_another_one_asked_unless_each_key_has_its_own(
    server: VllmClient, model_folder: Path, tmp_path: Path, salt: str
) -> None:
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(f"{ALICE}\n{BOB}\n", encoding="ascii")
    options = {"api-keys": str(keys), "cache-salt": salt}
    with served(tmp_path, model_folder, server, server.url, **options) as sidecar:
        before = cached_tokens(server)
        right = guessed(str(sidecar.client.base_url).removesuffix("/v1/"), np.random.default_rng(7))
        taken = cached_tokens(server) - before
    if salt == "off":  # each round takes the whole blocks of a prompt from the cache, which are of 128 tokens on a CPU
        assert taken >= ROUNDS * (CONTEXT - 128)
        assert sum(right) >= ROUNDS - 2
    else:  # a guess is no better than one at random: nothing of it came from the cache
        assert taken == 0
