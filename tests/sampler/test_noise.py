import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.places import DATA
from tests.sampler.genrand import genrand_words
from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.noise import GumbelNoise, gumbel_noise
from weightwarden.sampler.noise.vllm_cpu import VllmCpuNoise
from weightwarden.sampler.noise.vllm_v1_cpu import VllmV1CpuNoise
from weightwarden.sampler.types import FloatArray, IntArray

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((DATA / "noise-vectors.json").read_text())["vectors"]
V1_VECTORS = "vllm-v1 (CPU generator)"
SCHEMES = ["vllm-cpu", "vllm-v2", "vllm-v2-fp64", "vllm-v1", "vllm-v1-fp64", "vllm-v1-cpu", "sglang", "sglang-ranked"]
BY_POSITION = ["vllm-v2", "vllm-v2-fp64", "sglang", "sglang-ranked"]
ON_CPU_GENERATOR = ["vllm-cpu", "vllm-v1-cpu"]
SEEDS = [0, 42, -3, 2**32 + 42, 2**63 - 1, -(2**63)]
EULER_GAMMA = 0.5772156649015329
LARGE_VOCABULARY = 300_000
seeded = settings(deadline=None, derandomize=True, max_examples=50)


@cache
def whole_rows(name: str, *, seed: int = 9, vocabulary: int = 20_000, rows: int = 6) -> FloatArray:
    """Noise of the whole vocabulary at the first output positions."""
    noise = gumbel_noise(name, vocabulary)
    g = noise.at(noise.keys(seed, 17, rows), np.tile(np.arange(vocabulary), (rows, 1)))
    g.flags.writeable = False
    return g


def vector_noise(name: str, vector: dict[str, Any]) -> FloatArray:
    noise = gumbel_noise(name, vector.get("vocabulary", LARGE_VOCABULARY))
    last = noise.keys(vector["seed"], vector["n"], vector["j"] + 1)[vector["j"] :]
    g: FloatArray = noise.at(last, np.array([vector["token_ids"]]))[0]
    return g


# Conformance


@pytest.mark.parametrize("vector", VECTORS["vllm-v2"])
def test_vllm_v2_noise_is_the_engines(vector: dict[str, Any]) -> None:
    np.testing.assert_allclose(vector_noise("vllm-v2", vector), vector["g"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("vector", VECTORS["vllm-cpu"])
def test_vllm_cpu_noise_is_the_engines(vector: dict[str, Any]) -> None:
    np.testing.assert_allclose(vector_noise("vllm-cpu", vector), vector["g"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("vector", VECTORS[V1_VECTORS])
def test_vllm_v1_cpu_noise_is_that_of_torchs_cpu_generator(vector: dict[str, Any]) -> None:
    np.testing.assert_allclose(vector_noise("vllm-v1-cpu", vector), vector["g"], rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("vector", VECTORS["sglang"])
def test_sglang_noise_is_the_engines(vector: dict[str, Any]) -> None:
    np.testing.assert_allclose(vector_noise("sglang", vector), vector["g"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("vector", VECTORS["vllm-cpu"])
def test_vllm_cpu_step_seed_is_the_engines(vector: dict[str, Any]) -> None:
    noise = VllmCpuNoise(10)
    key = noise.keys(vector["seed"], vector["n"], vector["j"] + 1)[-1:]
    np.testing.assert_array_equal(key, noise.keys_of_steps(np.array([vector["step_seed"]], np.uint32)))


@pytest.mark.parametrize("vector", VECTORS["vllm-cpu-argmax"])
def test_vllm_cpu_token_is_the_one_that_the_engines_kernel_chose(vector: dict[str, Any]) -> None:
    ids = np.arange(vector["vocabulary"])
    logits = (np.sin(ids * vector["a"]) * vector["scale"]).astype(np.float32)
    noise = VllmCpuNoise(vector["vocabulary"])
    g = noise.at(noise.keys_of_steps(np.array([vector["step_seed"]], np.uint32)), ids[None])[0]
    assert int(np.argmax(logits.astype(np.float64) + g)) == vector["token"]


@pytest.mark.parametrize("seed", SEEDS)
def test_vllm_cpu_step_seeds_are_torchs_randint(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = [int(torch.randint(0, 2**31, (1,), generator=generator, dtype=torch.int64)) for _ in range(400)]
    noise = VllmCpuNoise(10)
    np.testing.assert_array_equal(noise.keys(seed, 1, 400), noise.keys_of_steps(np.array(drawn, np.uint32)))


@pytest.mark.parametrize("seed", SEEDS)
def test_vllm_v1_cpu_noise_is_torchs_own_exponential_to_the_last_bit(seed: int) -> None:
    vocabulary, steps = 4_099, 5
    generator = torch.Generator().manual_seed(seed)
    exponentials = np.stack([torch.empty(vocabulary).exponential_(generator=generator).numpy() for _ in range(steps)])
    assert exponentials.dtype == np.float32
    noise = VllmV1CpuNoise(vocabulary)
    g = noise.at(noise.keys(seed, 3, steps), np.tile(np.arange(vocabulary), (steps, 1)))
    np.testing.assert_allclose(g, -np.log(exponentials.astype(np.float64)), rtol=2e-7, atol=1e-6)
    # Near g = 0 the logarithm is steep enough to show one unit in the last place of E.
    np.testing.assert_array_equal(g.astype(np.float32), -np.log(exponentials))


@pytest.mark.parametrize("seed", [0, -1, 2**40 + 5])
def test_vllm_cpu_noise_is_splitmix_in_exact_integers(seed: int) -> None:
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    ids = [0, 1, 255, 49_151]
    noise = VllmCpuNoise(49_152)
    g = noise.at(noise.keys(seed, 4, 3), np.tile(ids, (3, 1)))
    for step, word in enumerate(genrand_words(seed, 6)[1::2]):
        for column, token in enumerate(ids):
            bits = mix((mix(word % 2**31) + (token + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 11
            assert g[step, column] == pytest.approx(-np.log(-np.log((bits + 0.5) * 2.0**-53)), abs=1e-12)


def splitmix_key(hashed: int, token: int) -> int:
    """The vllm-cpu key under which a token's hash is the given one (SplitMix64 run backwards)."""

    def unshift(z: int, bits: int) -> int:
        x = z
        for _ in range(64 // bits):
            x = z ^ (x >> bits)
        return x

    z = unshift(hashed, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    z = unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return (unshift(z, 30) - (token + 1) * 0x9E3779B97F4A7C15) % 2**64


@pytest.mark.parametrize("token", [0, 77])
@pytest.mark.parametrize("bits", [0, 1, 2**52 - 1, 2**52, 2**53 - 2])
def test_vllm_cpu_noise_is_finite_at_the_ends_of_its_range(bits: int, token: int) -> None:
    key = np.array([splitmix_key((bits << 11) + 5, token)], np.uint64)
    expected = -np.log(-np.log((bits + 0.5) * 2.0**-53))
    assert VllmCpuNoise(100).at(key, np.array([[token]]))[0, 0] == pytest.approx(expected, rel=1e-12)


def test_vllm_cpu_token_whose_53_bits_are_all_set_wins_as_in_the_kernel() -> None:
    noise = VllmCpuNoise(100)
    key = np.array([splitmix_key(2**64 - 1, 77)], np.uint64)
    assert noise.at(key, np.array([[76, 77]]))[0, 1] == np.inf
    assert noise.above(key, np.array([np.inf]))[1].tolist() == [77]


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (77_000_000_000, 130), (-3, 2**31 + 5), (2**63 - 1, 2**20)])
def test_vllm_v2_noise_is_minus_log_of_minus_log_of_the_murmur_hash(seed: int, position: int) -> None:
    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (32 - bits))) % 2**32

    def murmur(words: list[int]) -> int:
        h = 0
        for word in words:
            h ^= rotate(word * 0xCC9E2D51 % 2**32, 15) * 0x1B873593 % 2**32
            h = (rotate(h, 13) * 5 + 0xE6546B64) % 2**32
        h ^= 16
        h = (h ^ (h >> 16)) * 0x85EBCA6B % 2**32
        h = (h ^ (h >> 13)) * 0xC2B2AE35 % 2**32
        return h ^ (h >> 16)

    ids = np.arange(3_000)
    noise = gumbel_noise("vllm-v2", len(ids))
    g = noise.at(noise.keys(seed, position + 1, 1), ids[None])[0]
    u = np.array([(murmur([seed % 2**32, (seed >> 32) % 2**32, position % 2**32, int(i)]) + 0.5) / 2**32 for i in ids])
    exact = -np.log(-np.log1p(-u))
    # The float32 kernel is off by 2.1e-6 at most where a token can win (docs/sampling.md, section 4.4).
    np.testing.assert_allclose(g[exact >= 0], exact[exact >= 0], rtol=0, atol=2.5e-6)
    np.testing.assert_allclose(g, exact, rtol=0, atol=1.2e-2)


@pytest.mark.parametrize("name", SCHEMES)
def test_only_noise_keyed_by_position_depends_on_the_prompt_length(name: str) -> None:
    noise = gumbel_noise(name, 100)
    ids = np.tile(np.arange(100), (5, 1))
    short, longer = (noise.at(noise.keys(8, prompt, 5), ids) for prompt in (10, 11))
    if name in BY_POSITION:
        np.testing.assert_array_equal(short[1:], longer[:-1])
        assert not (short == longer).any(axis=1).all()
    else:
        np.testing.assert_array_equal(short, longer)


@pytest.mark.parametrize("name", ON_CPU_GENERATOR)
def test_schemes_on_torchs_cpu_generator_ignore_the_upper_half_of_the_seed(name: str) -> None:
    np.testing.assert_array_equal(whole_rows(name, seed=9), whole_rows(name, seed=9 + 2**32))


@pytest.mark.parametrize("name", sorted({*SCHEMES} - {*ON_CPU_GENERATOR}))
def test_other_schemes_use_all_64_bits_of_the_seed(name: str) -> None:
    assert (whole_rows(name, seed=9) != whole_rows(name, seed=9 + 2**32)).mean() > 0.99
    assert (whole_rows(name, seed=9) != whole_rows(name, seed=9 - 2**63)).mean() > 0.99


# Any part of the noise is the same as that part of the whole


@pytest.mark.parametrize("name", SCHEMES)
def test_noise_of_candidates_is_that_of_the_whole_vocabulary(name: str) -> None:
    whole = whole_rows(name)
    ids = np.random.default_rng(1).integers(0, whole.shape[1], (len(whole), 40))
    ids[:, :2] = [0, whole.shape[1] - 1]
    noise = gumbel_noise(name, whole.shape[1])
    np.testing.assert_array_equal(noise.at(noise.keys(9, 17, len(whole)), ids), np.take_along_axis(whole, ids, 1))


@pytest.mark.parametrize("name", SCHEMES)
@seeded
@given(positions=st.lists(st.integers(0, 11), min_size=1, max_size=8))
def test_any_positions_in_any_order_have_the_noise_of_the_whole_sequence(name: str, positions: list[int]) -> None:
    whole = whole_rows(name, vocabulary=500, rows=12)
    noise = gumbel_noise(name, 500)
    keys = noise.keys(9, 17, 12)
    np.testing.assert_array_equal(
        noise.at(keys[positions], np.tile(np.arange(500), (len(positions), 1))), whole[positions]
    )


@pytest.mark.parametrize("name", SCHEMES)
def test_positions_of_two_choices_may_be_interleaved(name: str) -> None:
    noise = gumbel_noise(name, 500)
    first, second = noise.keys(9, 17, 12), noise.keys(10, 17, 12)
    mixed = np.stack([first, second], axis=1).ravel()
    g = noise.at(mixed, np.tile(np.arange(500), (24, 1)))
    np.testing.assert_array_equal(g[0::2], whole_rows(name, vocabulary=500, rows=12))
    np.testing.assert_array_equal(g[1::2], whole_rows(name, seed=10, vocabulary=500, rows=12))


@pytest.mark.parametrize("name", SCHEMES)
def test_keys_of_a_longer_output_extend_those_of_a_shorter_one(name: str) -> None:
    noise = gumbel_noise(name, 500)
    np.testing.assert_array_equal(noise.keys(5, 4, 30)[:10], noise.keys(5, 4, 10))


# Tokens whose noise is large


def share_above(floor: float) -> float:
    """Probability that Gumbel noise reaches a floor."""
    return float(-np.expm1(-np.exp(-max(floor, -10.0))))


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("floor", [-1e6, -100.0, -3.7, -2.5, -1.0, 0.0, 0.5, 3.0, 7.0, 10.0, 16.0, 22.9, 40.0, 1e6])
def test_above_misses_no_token_and_returns_few_others(name: str, floor: float) -> None:
    g = whole_rows(name)
    n, vocabulary = g.shape
    noise = gumbel_noise(name, vocabulary)
    rows, ids = noise.above(noise.keys(9, 17, n), np.full(n, floor))
    found = np.zeros(g.shape, np.bool_)
    found[rows, ids] = True
    wanted = g + noise.error(g) >= floor
    assert not (wanted & ~found).any()
    assert (found & ~wanted).sum() <= 2 + 1e-3 * share_above(floor) * g.size


@pytest.mark.parametrize("name", SCHEMES)
def test_above_at_the_noise_of_a_token_returns_that_token(name: str) -> None:
    g = whole_rows(name)
    n, vocabulary = g.shape
    noise = gumbel_noise(name, vocabulary)
    keys = noise.keys(9, 17, n)
    for column in np.random.default_rng(2).integers(0, vocabulary, 40):
        rows, ids = noise.above(keys, g[:, column])
        assert set(range(n)) == set(rows[ids == column].tolist())


@pytest.mark.parametrize("name", SCHEMES)
def test_above_with_a_floor_for_each_row_is_row_major_without_repetition(name: str) -> None:
    g = whole_rows(name)
    n, vocabulary = g.shape
    floors = np.array([5.0, np.inf, 2.0, -np.inf, 8.0, 3.5])
    noise = gumbel_noise(name, vocabulary)
    rows, ids = noise.above(noise.keys(9, 17, n), floors)
    assert rows.dtype == ids.dtype == np.int64
    flat = rows * vocabulary + ids
    assert (np.diff(flat) > 0).all()
    for row, floor in enumerate(floors):
        assert set(np.flatnonzero(g[row] >= floor)) <= set(ids[rows == row].tolist())
    assert (rows == 3).sum() == vocabulary


@pytest.mark.parametrize("name", SCHEMES)
def test_above_of_a_vocabulary_larger_than_a_block_misses_no_token(name: str) -> None:
    noise = gumbel_noise(name, LARGE_VOCABULARY)
    keys = noise.keys(31, 2, 3)
    g = noise.at(keys, np.tile(np.arange(LARGE_VOCABULARY), (3, 1)))
    rows, ids = noise.above(keys, np.array([6.0, 9.0, 11.0]))
    expected_rows, expected_ids = np.nonzero(g >= np.array([[6.0], [9.0], [11.0]]))
    assert set(zip(expected_rows.tolist(), expected_ids.tolist(), strict=True)) <= set(
        zip(rows.tolist(), ids.tolist(), strict=True)
    )
    assert len(rows) <= len(expected_rows) + 2


@pytest.mark.parametrize("name", SCHEMES)
def test_above_of_no_position_is_empty(name: str) -> None:
    noise = gumbel_noise(name, 100)
    rows, ids = noise.above(noise.keys(1, 1, 1)[:0], np.empty(0))
    assert rows.dtype == ids.dtype == np.int64
    assert len(rows) == len(ids) == 0


# The noise is Gumbel noise


@pytest.mark.parametrize("name", SCHEMES)
def test_noise_has_the_gumbel_distribution(name: str) -> None:
    g = whole_rows(name).ravel()
    assert stats.kstest(g, stats.gumbel_r.cdf).pvalue > 1e-3
    assert g.mean() == pytest.approx(EULER_GAMMA, abs=4 * np.sqrt(np.pi**2 / 6 / len(g)))
    # The fourth central moment of a Gumbel variable is 5.4 times its squared variance.
    assert g.var() == pytest.approx(np.pi**2 / 6, rel=4 * np.sqrt(4.4 / len(g)))


def of_neighbours(name: str, other: str) -> tuple[FloatArray, FloatArray]:
    here = whole_rows(name)
    if other == "token ids":
        return here[:, :-1], here[:, 1:]
    if other == "positions":
        return here[:-1], here[1:]
    return here, whole_rows(name, seed=10)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("other", ["token ids", "positions", "seeds"])
def test_noise_of_neighbours_is_uncorrelated(name: str, other: str) -> None:
    # All of it, and the large values, which decide tokens.
    a, b = (values.ravel() for values in of_neighbours(name, other))
    bound = 4 / np.sqrt(len(a))
    assert abs(np.corrcoef(a, b)[0, 1]) < bound
    assert abs(np.corrcoef(a > 3, b > 3)[0, 1]) < bound


DRAWS = 6_000


def winners_over_positions(noise: GumbelNoise, logits_v: FloatArray, ids_nk: IntArray) -> IntArray:
    winners: IntArray = np.argmax(logits_v + noise.at(noise.keys(1234, 20, DRAWS), ids_nk), axis=1)
    return winners


def winners_over_seeds(noise: GumbelNoise, logits_v: FloatArray, ids_nk: IntArray) -> IntArray:
    keys = np.concatenate([noise.keys(seed, 20, 1) for seed in range(DRAWS)])
    winners: IntArray = np.argmax(logits_v + noise.at(keys, ids_nk), axis=1)
    return winners


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("winners", [winners_over_positions, winners_over_seeds])
def test_argmax_is_drawn_from_the_softmax(
    name: str, winners: Callable[[GumbelNoise, FloatArray, IntArray], IntArray]
) -> None:
    vocabulary = 40
    logits = np.random.default_rng(3).normal(0, 0.8, vocabulary)
    probability = np.exp(logits) / np.exp(logits).sum()
    assert probability.min() * DRAWS > 5
    tokens = winners(gumbel_noise(name, vocabulary), logits, np.tile(np.arange(vocabulary), (DRAWS, 1)))
    counts = np.bincount(tokens, minlength=vocabulary)
    assert stats.chisquare(counts, probability * DRAWS).pvalue > 1e-3


# What it may be off by


@pytest.mark.parametrize("name", SCHEMES)
def test_error_is_positive_small_at_most_tokens_and_never_falls_as_noise_grows_but_at_the_largest(name: str) -> None:
    g = np.unique(whole_rows(name))[:-1]
    error = gumbel_noise(name, 10).error(g)
    assert error.shape == g.shape
    assert (error > 0).all()
    assert np.median(error) <= 1e-5
    assert (np.diff(error) >= 0).all()


# Which schemes there are


@pytest.mark.parametrize("name", SCHEMES)
def test_noise_of_a_scheme_has_its_name_and_vocabulary(name: str) -> None:
    noise = gumbel_noise(name, 123)
    assert (noise.name, noise.vocabulary) == (name, 123)


@pytest.mark.parametrize("name", ["greedy", "inverse-cdf", "vllm", ""])
def test_scheme_without_gumbel_noise_is_refused(name: str) -> None:
    with pytest.raises(
        UnknownScheme, match="draws no Gumbel noise; those that do: vllm-cpu, vllm-v2, vllm-v2-fp64, vllm-v1,"
    ):
        gumbel_noise(name, 10)
