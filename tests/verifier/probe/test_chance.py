import numpy as np
import pytest
from scipy.stats import binom

from weightwarden.verifier.probe.chance import log10_tail


@pytest.mark.parametrize("matches", [0, 1, 20, 60, 100])
def test_equal_chances_give_the_binomial_tail(matches: int) -> None:
    expected = binom.logsf(matches - 1, 100, 0.3) / np.log(10)
    assert log10_tail(np.full(100, 0.3), matches) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_tail_is_that_of_simulation() -> None:
    chances = np.random.default_rng(1).uniform(0, 1, 30)
    counts = (np.random.default_rng(2).uniform(size=(200_000, 30)) < chances).sum(axis=1)
    for matches in (12, 15, 18):
        share = (counts >= matches).mean()
        assert 10 ** log10_tail(chances, matches) == pytest.approx(share, abs=4 * (share / 200_000) ** 0.5)


def test_what_cannot_be_is_below_every_number() -> None:
    assert log10_tail(np.zeros(3), 1) == -np.inf
    assert log10_tail(np.full(400, 0.01), 400) == -np.inf
