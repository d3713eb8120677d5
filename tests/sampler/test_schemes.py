import re

import pytest

from weightwarden.errors import WeightwardenError
from weightwarden.sampler.errors import UnknownScheme, UnreplayableRequest
from weightwarden.sampler.noise import GUMBEL_SCHEMES
from weightwarden.sampler.schemes import SCHEMES, scheme

VLLM = [name for name in SCHEMES if name.startswith("vllm-")]
SGLANG = ["sglang", "sglang-ranked"]


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_is_found_by_its_name(name: str) -> None:
    assert scheme(name).name == name


@pytest.mark.parametrize("name", ["", "vllm", "VLLM-CPU", "vllm-cpu ", "vllm-v3"])
def test_unknown_scheme_is_refused_and_the_known_ones_are_listed(name: str) -> None:
    with pytest.raises(UnknownScheme, match=re.escape(repr(name))) as caught:
        scheme(name)
    assert all(known in str(caught.value) for known in SCHEMES)
    assert isinstance(caught.value, WeightwardenError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", VLLM)
@pytest.mark.parametrize(
    ("seed", "choice_index", "drawn_with"),
    [
        (0, 0, 0),
        (42, 0, 42),
        (42, 3, 45),
        (-3, 1, -2),
        (-2, 2, 0),
        (-(2**63), 0, -(2**63)),
        (2**63 - 1, 0, 2**63 - 1),
        (2**63 - 4, 3, 2**63 - 1),
    ],
)
def test_choice_of_a_vllm_request_is_drawn_with_seed_plus_index(
    name: str, seed: int, choice_index: int, drawn_with: int
) -> None:
    assert scheme(name).choice_seed(seed, choice_index) == drawn_with


@pytest.mark.parametrize("name", VLLM)
@pytest.mark.parametrize(("seed", "choice_index"), [(-1, 0), (-2, 1), (-5, 4)])
def test_child_seed_of_minus_one_means_no_seed(name: str, seed: int, choice_index: int) -> None:
    with pytest.raises(UnreplayableRequest, match=f"seed {seed} with choice index {choice_index} is -1"):
        scheme(name).choice_seed(seed, choice_index)


@pytest.mark.parametrize("name", VLLM)
@pytest.mark.parametrize(("seed", "choice_index"), [(2**63, 0), (2**63 - 1, 1), (-(2**63) - 1, 0)])
def test_child_seed_beyond_64_bits_is_refused(name: str, seed: int, choice_index: int) -> None:
    with pytest.raises(UnreplayableRequest, match="outside the range"):
        scheme(name).choice_seed(seed, choice_index)


@pytest.mark.parametrize("name", SGLANG)
@pytest.mark.parametrize(("seed", "choice_index"), [(0, 0), (42, 3), (-1, 0), (-1, 2), (2**63 - 1, 5), (-(2**63), 1)])
def test_choices_of_an_sglang_request_share_its_seed_whatever_it_is(name: str, seed: int, choice_index: int) -> None:
    assert scheme(name).choice_seed(seed, choice_index) == seed


@pytest.mark.parametrize(
    ("name", "temperature", "effective"),
    [
        ("vllm-v2", 1e-6, 0.01),
        ("vllm-v2", 0.005, 0.01),
        ("vllm-v2", 0.01, 0.01),
        ("vllm-v2", 0.7, 0.7),
        ("vllm-v2", 2.0, 2.0),
        ("sglang", 0.005, 0.005),
        ("sglang", 1e-9, 1e-6),
    ],
)
def test_temperature_is_raised_to_the_engines_least(name: str, temperature: float, effective: float) -> None:
    assert scheme(name).effective_temperature(temperature) == effective


def test_schemes_that_draw_an_argmax_of_noise_are_all_but_two() -> None:
    assert set(SCHEMES) - set(GUMBEL_SCHEMES) == {"inverse-cdf", "greedy"}
    assert set(GUMBEL_SCHEMES) <= set(SCHEMES)


def test_inverse_cdf_seeds_are_32_bit_and_below_the_value_that_asks_for_a_random_seed() -> None:
    inverse_cdf = scheme("inverse-cdf")
    assert inverse_cdf.choice_seed(0, 0) == 0
    assert inverse_cdf.choice_seed(2**32 - 2, 0) == 2**32 - 2
    for seed in (-1, -7, 2**32 - 1, 2**32):
        with pytest.raises(UnreplayableRequest, match="outside the range of scheme inverse-cdf"):
            inverse_cdf.choice_seed(seed, 0)
