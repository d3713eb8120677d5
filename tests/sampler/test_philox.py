import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampler.scalar_noise import philox
from weightwarden.sampler.philox import philox4x32, words_of

RANDOM123 = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
"""Known answers of the Random123 distribution (kat_vectors, philox4x32-10)."""
words = st.integers(0, 2**32 - 1)


def outputs(counter: list[int], key: list[int]) -> list[int]:
    c, k = ([np.array([word], np.uint64) for word in each] for each in (counter, key))
    return [int(word[0]) for word in philox4x32((c[0], c[1], c[2], c[3]), (k[0], k[1]))]


@pytest.mark.parametrize(("counter", "key", "expected"), RANDOM123)
def test_outputs_are_those_of_random123(counter: list[int], key: list[int], expected: list[int]) -> None:
    assert outputs(counter, key) == philox(counter, key) == expected


@settings(deadline=None, derandomize=True)
@given(counter=st.lists(words, min_size=4, max_size=4), key=st.lists(words, min_size=2, max_size=2))
def test_outputs_are_those_of_exact_integers(counter: list[int], key: list[int]) -> None:
    assert outputs(counter, key) == philox(counter, key)


def test_words_that_are_the_same_along_an_axis_may_be_given_once() -> None:
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 2**32, (2, 5, 1), np.uint64), rng.integers(0, 2**32, (2, 1, 7), np.uint64)
    key = rng.integers(0, 2**32, (2, 5, 1), np.uint64)
    narrow = philox4x32((rows[0], rows[1], columns[0], columns[1]), (key[0], key[1]))
    whole = [np.broadcast_to(word, (5, 7)).copy() for word in (*rows, *columns, *key)]
    wide = philox4x32((whole[0], whole[1], whole[2], whole[3]), (whole[4], whole[5]))
    np.testing.assert_array_equal(narrow, wide)


def test_words_of_a_number_are_its_low_and_high_halves() -> None:
    low, high = words_of(np.array([2**64 - 2, 5], np.uint64))
    assert (low.tolist(), high.tolist()) == ([2**32 - 2, 5], [2**32 - 1, 0])
