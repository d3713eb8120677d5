"""A verdict needs a limit that was reached, and what is missing is what it takes."""

from math import inf

import numpy as np
import pytest

from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE, Conclusiveness, records_needed
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.rates import rate_limits

BITS = 16.0


def test_nothing_audited_is_not_conclusive_whatever_is_given() -> None:
    found = Conclusiveness(limit=None, most=BITS, tokens_needed=0.0)
    assert not found.conclusive
    assert found.needs is not None
    assert found.needs.startswith("nothing was audited; a verdict needs at most 1.6 bits a token")


@pytest.mark.parametrize(("limit", "conclusive"), [(0.0, True), (1.6, True), (1.601, False), (BITS, False)])
def test_a_tenth_of_a_free_token_is_conclusive_and_more_is_not(limit: float, conclusive: bool) -> None:
    found = Conclusiveness(limit=limit, most=BITS, tokens_needed=84_123.0)
    assert found.conclusive is conclusive
    assert (found.needs is None) is conclusive


def test_what_is_needed_is_said_in_tokens_to_two_digits_upward() -> None:
    said = Conclusiveness(limit=BITS, most=BITS, tokens_needed=84_123.4).needs
    assert said == (
        "a token is limited to 16 bits; a verdict needs at most 1.6 bits a token, a tenth of what a free token carries:"
        " about 85,000 more audited tokens"
    )
    for tokens, words in ((0.2, "about 1 more"), (99.0, "about 99 more"), (100.1, "about 110 more")):
        assert words in str(Conclusiveness(limit=BITS, most=BITS, tokens_needed=tokens).needs)


def test_a_limit_out_of_reach_promises_nothing() -> None:
    said = Conclusiveness(limit=3.0, most=BITS, tokens_needed=inf).needs
    assert said is not None
    assert said.endswith("and no number of audited tokens like these reaches it")


@pytest.mark.parametrize("bits", [0.0, 0.07, 0.3])
def test_the_records_that_are_needed_make_the_limit_conclusive_and_half_of_them_do_not(bits: float) -> None:
    def limit(records: int) -> float:
        value_r = np.full(records, bits * 100)
        found = rate_limits(
            value_r, np.full(records, 100.0), confidence=0.99, side="upper", longest=100, most_per_token=BITS
        )
        return found.high

    needed = records_needed(bits, BITS, 0.99)
    assert limit(int(1.1 * needed) + 2) <= CONCLUSIVE_SHARE * BITS < limit(int(needed / 2))
    assert records_needed(0.0, BITS, 0.99) == 44


def test_records_charged_more_than_a_tenth_are_never_enough() -> None:
    assert records_needed(1.7, BITS, 0.99) == inf


def test_arguments_out_of_their_domain_are_errors() -> None:
    for limit, most, tokens in ((-1.0, BITS, 0.0), (1.0, 0.0, 0.0), (1.0, BITS, -1.0), (1.0, BITS, float("nan"))):
        with pytest.raises(StatisticsError):
            Conclusiveness(limit=limit, most=most, tokens_needed=tokens)
    for bits, most, confidence in ((-1.0, BITS, 0.9), (17.0, BITS, 0.9), (1.0, 0.0, 0.9), (1.0, BITS, 1.0)):
        with pytest.raises(StatisticsError):
            records_needed(bits, most, confidence)
