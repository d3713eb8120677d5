"""Noise of the GPU engines against slow scalar arithmetic and published values."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampler import scalar_noise
from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.noise import GumbelNoise, gumbel_noise
from weightwarden.sampler.noise.sglang import SglangNoise, SglangRankedNoise
from weightwarden.sampler.noise.vllm_v1 import VllmV1Fp64Noise, VllmV1Noise
from weightwarden.sampler.schemes import GPU_THREADS
from weightwarden.sampler.types import FloatArray, IntArray

seeds = st.integers(-(2**63), 2**63 - 1)
seeded = settings(deadline=None, derandomize=True, max_examples=60)
Scalar = Callable[..., float]


def row_of(noise: GumbelNoise, seed: int, prompt: int, step: int, tokens: list[int]) -> FloatArray:
    g: FloatArray = noise.at(noise.keys(seed, prompt, step + 1)[step:], np.array([tokens]))[0]
    return g


def bits_of(noise: VllmV1Noise, seed: int, step: int, ids: IntArray) -> list[int]:
    found: list[int] = noise.uniform_bits(noise.keys(seed, 1, step + 1)[step:], ids[None])[0].tolist()
    return found


# CUDA: the exponential race


def test_uniform_numbers_are_those_that_cuda_users_print_for_seed_0() -> None:
    # torch.rand maps 1 to 0 and leaves the rest; two calls in a row, four decimals (docs/sampling.md, section 9).
    noise = VllmV1Noise(5)
    for step, printed in ((0, [0.3990, 0.5167, 0.0249, 0.9401, 0.9459]), (1, [0.9722, 0.7910, 0.4690, 0.3300])):
        bits = noise.uniform_bits(noise.keys(0, 1, 2)[step:][:1], np.arange(len(printed))[None])[0]
        assert (bits.astype(np.float64) + 0.5) * 2.0**-32 == pytest.approx(printed, abs=5.01e-5)


@pytest.mark.parametrize(("make", "scalar"), [(VllmV1Noise, "vllm_v1"), (VllmV1Fp64Noise, "vllm_v1_fp64")])
@seeded
@given(
    seed=seeds,
    step=st.integers(0, 40),
    vocabulary=st.integers(1, 9_000),
    threads=st.sampled_from([256, 1_024, 2_000, 4_096, None]),
    data=st.data(),
)
def test_noise_is_that_of_scalar_arithmetic_on_any_grid(
    make: type[VllmV1Noise],
    scalar: str,
    seed: int,
    step: int,
    vocabulary: int,
    threads: int | None,
    data: st.DataObject,
) -> None:
    tokens = data.draw(st.lists(st.integers(0, vocabulary - 1), min_size=1, max_size=6))
    g = row_of(make(vocabulary, threads), seed, 1, step, tokens)
    slow: Scalar = getattr(scalar_noise, scalar)
    expected = [slow(seed, step, token, vocabulary, threads or 2**40) for token in tokens]
    np.testing.assert_allclose(g, expected, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("step", [2**31, 2**32 - 1, 2**32 + 5])
def test_counter_of_many_steps_carries_into_its_upper_word(step: int) -> None:
    noise = VllmV1Noise(100)
    key = noise.keys(3, 1, 1)
    key["counter"] = step
    bits = noise.uniform_bits(key, np.arange(100)[None])[0]
    assert bits.tolist() == [scalar_noise.cuda_integer(3, step, token, 100) for token in range(100)]


@pytest.mark.parametrize("threads", [256, 1_024, 4_096])
@pytest.mark.parametrize("make", [VllmV1Noise, VllmV1Fp64Noise])
def test_above_finds_tokens_of_every_round_and_component(make: type[VllmV1Noise], threads: int) -> None:
    vocabulary = 9_001
    noise = make(vocabulary, threads)
    keys = noise.keys(17, 1, 3)
    g = noise.at(keys, np.tile(np.arange(vocabulary), (3, 1)))
    rows, ids = noise.above(keys, np.array([-50.0, 2.0, 5.0]))
    assert (rows == 0).sum() == vocabulary
    wanted = np.nonzero(g[1:] >= np.array([[2.0], [5.0]]))
    found = rows > 0
    assert set(zip((wanted[0] + 1).tolist(), wanted[1].tolist(), strict=True)) == set(
        zip(rows[found].tolist(), ids[found].tolist(), strict=True)
    )


def test_gpu_matters_only_beyond_its_threads() -> None:
    ids = np.arange(40_000)
    few, one_each = VllmV1Noise(40_000, GPU_THREADS["t4"]), VllmV1Noise(40_000)
    assert bits_of(few, 7, 2, ids) == bits_of(one_each, 7, 2, ids)
    ids = np.arange(41_500)
    assert bits_of(VllmV1Noise(41_500, GPU_THREADS["t4"]), 7, 2, ids) != bits_of(VllmV1Noise(41_500), 7, 2, ids)


def test_schemes_name_the_gpu_where_there_are_more_tokens_than_threads() -> None:
    with pytest.raises(UnknownScheme, match="vllm-v1-h100"):
        gumbel_noise("vllm-v1", 400_000)
    t4, h100 = (gumbel_noise(f"vllm-v1-{gpu}", 400_000) for gpu in ("t4", "h100"))
    assert row_of(t4, 1, 1, 0, [399_999])[0] == pytest.approx(
        scalar_noise.vllm_v1(1, 0, 399_999, 400_000, GPU_THREADS["t4"]), rel=1e-12
    )
    assert row_of(h100, 1, 1, 0, [399_999])[0] == pytest.approx(
        scalar_noise.vllm_v1(1, 0, 399_999, 400_000, GPU_THREADS["h100"]), rel=1e-12
    )


def test_race_error_is_what_an_error_of_the_logarithm_moves_the_score_by() -> None:
    for exponential, off in ((np.array([0.01, 0.5, 1.0, 20.0]), 3.6e-7), (np.array([2e-5, 1e-4, 1e-3]), 1e-7)):
        error = VllmV1Noise(10).error(-np.log(exponential))
        for sign in (-1, 1):
            moved = np.abs(np.log(exponential) - np.log(exponential + sign * off))
            assert (moved < error).all()
        np.testing.assert_allclose(error, off / exponential + 1e-6, rtol=0.02)  # the specification's rule


def test_race_error_is_bounded_for_the_rarest_tokens_and_none_at_the_engines_constant() -> None:
    error = VllmV1Noise(10).error(-np.log(np.array([2.0**-23, 2.0**-24])))
    assert 1 < error[0] < 2
    assert error[1] == 1e-6


def test_race_error_covers_what_a_gpu_did_next_to_one() -> None:
    """E by how many units of 2^-24 its uniform number is below 1, as an H100 gave it.

    `python -m benchmarks.guarantees.cuda_noise` measured it.
    """
    measured = json.loads(Path("tests/data/cuda-noise-h100.json").read_text(encoding="utf-8"))
    seen = {
        (int(units), one * 2.0**-24)
        for fill in measured["near_one"]
        for units, some in fill["exponential_in_units_of_2^-24_by_units_of_u_below_1"].items()
        for one in some
    }
    assert len(seen) >= 60
    for units, exponential in seen:
        ours = 2.0**-24 if units == 1 else -np.log1p(-units * 2.0**-24)
        error = VllmV1Noise(10).error(np.array([-np.log(ours)]))[0]
        assert abs(np.log(exponential / ours)) <= error
    assert max(abs(np.log(e / (u * 2.0**-24))) for u, e in seen) > 0.5  # the error is real


def test_above_returns_tokens_that_only_the_error_lifts_to_the_floor() -> None:
    noise = VllmV1Noise(20_000)
    keys = noise.keys(5, 1, 40)
    g = noise.at(keys, np.tile(np.arange(20_000), (40, 1)))
    largest = g.argmax(axis=1)
    peak = g[np.arange(40), largest]
    rows, ids = noise.above(keys, peak + noise.error(peak) * 0.999)
    assert (noise.error(peak) > 1e-4).any()
    found = set(zip(rows.tolist(), ids.tolist(), strict=True))
    assert {(row, int(token)) for row, token in enumerate(largest)} <= found


# murmur3


@pytest.mark.parametrize("name", ["vllm-v2-fp64", "sglang"])
@seeded
@given(
    seed=seeds,
    prompt=st.integers(1, 2**20),
    step=st.integers(0, 50),
    tokens=st.lists(st.integers(0, 2**20), min_size=1, max_size=6),
)
def test_noise_is_that_of_scalar_murmur(name: str, seed: int, prompt: int, step: int, tokens: list[int]) -> None:
    slow: Scalar = getattr(scalar_noise, name.replace("-", "_"))
    expected = [slow(seed, prompt - 1 + step, token) for token in tokens]
    g = row_of(gumbel_noise(name, 2**20 + 1), seed, prompt, step, tokens)
    np.testing.assert_allclose(g, expected, rtol=1e-13, atol=1e-12)


def murmur_state(hashed: int, column: int) -> int:
    """The hash state under which a column's hash is the given one (murmur3's last word and finaliser, backwards)."""

    def unshift(h: int, bits: int) -> int:
        x = h
        for _ in range(32 // bits):
            x = h ^ (x >> bits)
        return x

    mask = 2**32 - 1
    h = unshift(hashed, 16) * pow(0xC2B2AE35, -1, 2**32) & mask
    h = unshift(h, 13) * pow(0x85EBCA6B, -1, 2**32) & mask
    h = unshift(h, 16) ^ 16
    h = (h - 0xE6546B64) * pow(5, -1, 2**32) & mask
    h = (h >> 13 | h << 19) & mask
    k = column * 0xCC9E2D51 & mask
    return h ^ ((k << 15 | k >> 17) & mask) * 0x1B873593 & mask


@pytest.mark.parametrize(
    ("hashed", "expected"),
    [
        (0, -math.log(1.7976931348623157e308)),
        (2**32 - 1, 32 * math.log(2)),
        (1, -math.log(32 * math.log(2))),
        (2**32 - 2, -math.log(1 / 4294967295)),
    ],
)
def test_sglang_noise_is_clamped_at_both_ends(hashed: int, expected: float) -> None:
    noise = SglangNoise(100)
    key = np.array([murmur_state(hashed, 77)], np.uint32)
    g = noise.at(key, np.array([[77]]))[0, 0]
    assert g == pytest.approx(expected, rel=1e-9)
    assert 77 in noise.above(key, np.array([g]))[1]


def test_ranked_noise_is_the_same_function_of_a_rank() -> None:
    token, rank = SglangNoise(100), SglangRankedNoise(100)
    columns = np.tile(np.arange(100), (4, 1))
    np.testing.assert_array_equal(token.at(token.keys(3, 9, 4), columns), rank.at(rank.keys(3, 9, 4), columns))
    assert rank.by_rank
    assert not token.by_rank
