import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.sampler.genrand import genrand_words
from tests.sampler.scalar_noise import triton_uniform
from weightwarden.sampler import uniforms
from weightwarden.sampler.uniforms import draft_uniforms, inverse_cdf_uniforms

# std::uniform_real_distribution<double>(0, 1) over std::mt19937(seed), printed with %.17g by g++ 12 (libstdc++).
LIBSTDCXX = {
    0: [0.59284461651668263, 0.84426574425659828, 0.85794561998982988, 0.84725173738433124],
    1: [0.99718480823026556, 0.93255736136816547, 0.128124447772306, 0.99904051546527362],
    42: [0.79654298428784598, 0.18343478789336848, 0.77969099761266125, 0.59685016158005655],
    5489: [0.1354770042967805, 0.8350085899945795, 0.96886777112423139, 0.2210340429827049],
    2**32 - 2: [0.10184899170898529, 0.94789751258733013, 0.82893340139475558, 0.37232930669741121],
}


@pytest.mark.parametrize("seed", LIBSTDCXX)
def test_uniforms_are_those_that_libstdcxx_prints(seed: int) -> None:
    assert inverse_cdf_uniforms(seed, 4).tolist() == LIBSTDCXX[seed]


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 2])
def test_uniforms_are_two_words_the_first_the_lower(seed: int) -> None:
    words = genrand_words(seed, 2000)
    expected = [(low + high * 2**32) / 2**64 for low, high in zip(words[0::2], words[1::2], strict=True)]
    # Integer arithmetic rounds once, the engine's doubles twice.
    np.testing.assert_allclose(inverse_cdf_uniforms(seed, 1000), expected, rtol=0, atol=2.0**-53)


def test_a_longer_output_extends_a_shorter_one() -> None:
    np.testing.assert_array_equal(inverse_cdf_uniforms(5, 300)[:100], inverse_cdf_uniforms(5, 100))


@pytest.mark.parametrize("seed", [1, 2, 99])
def test_uniforms_are_uniform_on_the_half_open_interval(seed: int) -> None:
    u = inverse_cdf_uniforms(seed, 50_000)
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / np.sqrt(len(u))


def test_the_largest_words_give_a_number_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class AllOnes:
        def __init__(self, seed: int) -> None:
            del seed

        def take(self, count: int) -> NDArray[np.uint32]:
            return np.full(count, 0xFFFFFFFF, np.uint32)

    monkeypatch.setattr(uniforms, "MersenneStream", AllOnes)
    assert inverse_cdf_uniforms(0, 1).tolist() == [1 - 2.0**-53]


@pytest.mark.parametrize("seed", [0, 1, 77, 2**31, 2**32 + 5, 2**63 - 1, -1, -(2**63)])
def test_uniforms_of_drafts_are_those_of_exact_integers(seed: int) -> None:
    expected = [triton_uniform(seed, position) for position in range(4, 104)]
    assert draft_uniforms(seed, 5, 100).tolist() == expected
    assert draft_uniforms(seed, 25, 80).tolist() == expected[20:]


def test_uniforms_of_drafts_are_uniform_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.concatenate([draft_uniforms(seed, 9, 500) for seed in range(100)])
    assert stats.kstest(a, "uniform").pvalue > 1e-3
    monkeypatch.setattr(uniforms, "philox4x32", lambda counter, key: [np.zeros_like(counter[0])])
    assert draft_uniforms(0, 1, 2).tolist() == [np.float32(4.6566127342e-10)] * 2
