"""A verdict needs a limit that was reached, and what is missing is what it takes."""

from math import inf, log1p

import pytest

from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE, Conclusiveness, tokens_needed
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.total_limit import UpperLimit

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


def limit_of(rate: float, stock: float, tokens: int) -> UpperLimit:
    return UpperLimit(rate_bits=rate * tokens, stock_bits=stock, tokens=tokens, most_bits=BITS * tokens)


def test_what_is_needed_divides_the_stock_until_it_fits() -> None:
    """A stock is in proportion to 1 / -ln(1 - share)."""
    audited, tokens = 10_000, 1_000_000
    found = limit_of(0.1, 6e6, tokens)
    needed = tokens_needed(found, audited, BITS)
    share = (audited + needed) / tokens
    smaller = 6e6 * log1p(-audited / tokens) / log1p(-share)
    assert 0.1 + smaller / tokens == pytest.approx(CONCLUSIVE_SHARE * BITS)
    assert tokens_needed(limit_of(0.1, 1e6, tokens), audited, BITS) == 0


def test_no_more_than_all_tokens_are_needed_and_none_help_where_the_rate_is_too_much() -> None:
    assert tokens_needed(limit_of(0.1, 1e12, 1000), 10, BITS) == 990
    assert tokens_needed(limit_of(1.7, 1.0, 1000), 10, BITS) == inf
    assert tokens_needed(limit_of(1.7, 0.0, 1000), 1000, BITS) == inf


def test_arguments_out_of_their_domain_are_errors() -> None:
    for limit, most, tokens in ((-1.0, BITS, 0.0), (1.0, 0.0, 0.0), (1.0, BITS, -1.0), (1.0, BITS, float("nan"))):
        with pytest.raises(StatisticsError):
            Conclusiveness(limit=limit, most=most, tokens_needed=tokens)
    for audited, most in ((0, BITS), (11, BITS), (5, 0.0)):
        with pytest.raises(StatisticsError):
            tokens_needed(limit_of(0.1, 1.0, 10), audited, most)
