"""The packaged effect sizes are those of the published table, and price what random orders of the records took."""

import pytest

from benchmarks.results.page import FILES
from benchmarks.results.tables.tokens_to_alarm import TOKENS_TO_ALARM, TokensToAlarmRow
from weightwarden.cli.options.effect_sizes import read_effect_sizes

PUBLISHED = TOKENS_TO_ALARM.read(FILES / "tokens-to-alarm.json")
PACKAGED = read_effect_sizes(None)
ALARM_LEVEL = 1e-4


SIZES = {size.name: size for size in PACKAGED.sizes()}


def test_the_packaged_effect_sizes_are_of_the_published_measurement() -> None:
    assert PACKAGED.policy == PUBLISHED.settings["policy"]
    assert list(SIZES) == [row.deviation for row in PUBLISHED.rows]
    for row in PUBLISHED.rows:
        assert SIZES[row.deviation].nats_per_token == pytest.approx(row.nats_per_token)
        assert SIZES[row.deviation].tokens == row.tokens


@pytest.mark.parametrize("row", PUBLISHED.rows, ids=[row.deviation for row in PUBLISHED.rows])
def test_a_price_at_even_odds_is_within_a_factor_of_two_of_the_median_of_the_orders(row: TokensToAlarmRow) -> None:
    priced = SIZES[row.deviation].tokens_to_alarm(ALARM_LEVEL, 0.5)
    if row.tokens_to_alarm is None:
        assert priced > row.tokens
    else:
        assert row.tokens_to_alarm / 2 <= priced <= 2 * row.tokens_to_alarm
