"""The device's noises against the host's, which the engines' own vectors hold."""

import numpy as np
import pytest
import torch

from weightwarden.sampler.noise import GumbelNoise, gumbel_noise
from weightwarden.sampler.noise.vllm_v1 import VllmV1Fp64Noise, VllmV1Noise
from weightwarden.verifier.candidates.device.noise import device_noise

V = 5003
NOISES: dict[str, GumbelNoise] = {
    **{
        name: gumbel_noise(name, V)
        for name in ("vllm-cpu", "vllm-v1", "vllm-v1-fp64", "vllm-v2", "vllm-v2-fp64", "sglang")
    },
    "vllm-v1, three rounds": VllmV1Noise(V, gpu_threads=512),
    "vllm-v1-fp64, five rounds": VllmV1Fp64Noise(V, gpu_threads=512),
}
SEEDS = (0, 7, 2**63 + 12345, -3)


@pytest.fixture(params=list(NOISES.values()), ids=list(NOISES))
def noise(request: pytest.FixtureRequest) -> GumbelNoise:
    found: GumbelNoise = request.param
    return found


def seeds_of(noise: GumbelNoise) -> list[int]:
    return [seed for seed in SEEDS if noise.name.startswith("vllm-v1") or seed in (0, 7)]


def test_every_token_has_the_same_noise_and_error(noise: GumbelNoise) -> None:
    twin = device_noise(noise)
    assert twin is not None
    ids = np.tile(np.arange(V), (40, 1))
    for seed in seeds_of(noise):
        keys = noise.keys(seed, 9, 40)
        ours = twin.at(twin.keys(keys), torch.from_numpy(ids))
        theirs = noise.at(keys, ids)
        atol = 2e-6 if noise.name == "vllm-v2" else 1e-12  # float32 logarithms
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=atol)
        np.testing.assert_allclose(twin.error(ours).numpy(), noise.error(theirs), rtol=1e-4, atol=0)


def test_errors_are_the_hosts_up_to_the_largest_noise() -> None:
    noise = NOISES["vllm-v1"]
    twin = device_noise(noise)
    assert twin is not None
    g = np.concatenate([np.linspace(-4, 16.6, 4001), np.log(2.0) * np.array([22.0, 23.0, 24.0])])
    np.testing.assert_allclose(twin.error(torch.from_numpy(g)).numpy(), noise.error(g), rtol=1e-9, atol=0)
    assert noise.tolerance is None
    assert noise.error(g).max() > 100 * noise.error(g).min()


def test_tokens_above_a_floor_are_found_in_order_and_none_is_missed(noise: GumbelNoise) -> None:
    twin = device_noise(noise)
    assert twin is not None
    floor = np.array([-2.0, 0.0, 3.0, 6.0, 9.0, 14.0, np.inf, 7.0])
    keys = noise.keys(7, 9, len(floor))
    least = twin.least_word(torch.from_numpy(floor))
    row, token = twin.above(twin.keys(keys), least, V)
    assert (np.diff(row.numpy() * V + token.numpy()) > 0).all()
    found = set(zip(row.tolist(), token.tolist(), strict=True))
    ids = np.tile(np.arange(V), (len(floor), 1))
    g = noise.at(keys, ids)
    wanted = set(zip(*(at.tolist() for at in np.nonzero(g + noise.error(g) >= floor[:, None])), strict=True))
    assert wanted <= found
    assert len(found) <= 1.02 * len(wanted) + 12


def test_a_chunk_is_scanned_in_parts(monkeypatch: pytest.MonkeyPatch, noise: GumbelNoise) -> None:
    twin = device_noise(noise)
    assert twin is not None
    keys = twin.keys(noise.keys(5, 3, 30))
    least = twin.least_word(torch.full((30,), 5.0, dtype=torch.float64))
    whole = twin.above(keys, least, V)
    for module in ("base", "vllm_v1"):
        monkeypatch.setattr(f"weightwarden.verifier.candidates.device.noise.{module}.SCAN_ELEMENTS", 8 * V)
    parts = twin.above(keys, least, V)
    assert len(whole[0]) > 100
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


def test_noise_of_a_generator_with_a_state_or_of_ranks_has_no_twin_of_its_own() -> None:
    assert device_noise(gumbel_noise("vllm-v1-cpu", V)) is None
    assert device_noise(gumbel_noise("sglang-ranked", V)) is None
