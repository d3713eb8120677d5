import numpy as np
import pytest

from tests.sampler.genrand import genrand_words
from weightwarden.sampler.mersenne import MersenneStream


def test_stream_has_the_value_that_the_cpp_standard_requires() -> None:
    # [rand.predef]: the 10000th consecutive invocation of a default-constructed mt19937 (seed 5489) gives 4123659995.
    assert MersenneStream(5489).take(10_000)[-1] == 4_123_659_995


def test_stream_of_seed_one_starts_as_published() -> None:
    assert MersenneStream(1).take(3).tolist() == [1_791_095_845, 4_282_876_139, 3_093_770_124]


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1, 2**32 + 42, -1, -3, 2**63 - 1, -(2**63)])
def test_stream_is_init_genrand_of_the_low_32_bits(seed: int) -> None:
    assert MersenneStream(seed).take(1300).tolist() == genrand_words(seed, 1300)


def test_upper_half_of_the_seed_is_ignored() -> None:
    low, high = MersenneStream(7), MersenneStream(7 + (123 << 32))
    assert low.take(50).tolist() == high.take(50).tolist()


def test_stream_continues_where_the_last_take_ended() -> None:
    whole = MersenneStream(3).take(1000)
    stream = MersenneStream(3)
    parts = np.concatenate([stream.take(count) for count in (1, 622, 2, 375)])
    np.testing.assert_array_equal(parts, whole)


def test_taking_nothing_leaves_the_stream_where_it_is() -> None:
    stream = MersenneStream(3)
    assert len(stream.take(0)) == 0
    assert stream.take(10).tolist() == genrand_words(3, 10)


def test_pairs_hold_the_first_output_in_the_upper_half() -> None:
    words = genrand_words(11, 20)
    pairs = MersenneStream(11).take_pairs(10)
    assert pairs.dtype == np.uint64
    assert pairs.tolist() == [(high << 32) | low for high, low in zip(words[0::2], words[1::2], strict=True)]
