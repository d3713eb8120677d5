"""The price of a verdict by effect sizes: against simulated series, between measured rates, outside of them."""

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest

from weightwarden.verifier.statistics.effect_sizes import BetGrowth, EffectSize, verdict_price
from weightwarden.verifier.statistics.errors import StatisticsError

TOKENS = 100


def size(rate: float | None, nats_per_record: float, variance: float = 1.0, deviation: str = "kind") -> EffectSize:
    growth = BetGrowth(bet="a", log_share=-log(4), nats_per_record=nats_per_record, variance_per_record=variance)
    return EffectSize(
        deviation=deviation,
        rate=rate,
        tokens=1000 * TOKENS,
        records=1000,
        nats_per_token=2 * nats_per_record / TOKENS,
        growths=[growth],
    )


@pytest.mark.parametrize("events", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("power", [0.5, 0.9, 0.99])
def test_series_of_rare_events_alarm_when_the_price_says(events: float, power: float) -> None:
    """Gains of a bet on events that a record holds so many of, eight times an honest record's."""
    rng = np.random.default_rng(1)
    gain_sr = rng.poisson(events, (2000, 400)) * log(8) - events * 7 / 8
    of = size(None, float(gain_sr.mean()), float(gain_sr.var()))
    price = verdict_price([of], "kind", None, alarm_level=1e-4, power=power)
    crossed_sr = gain_sr.cumsum(axis=1) - log(4) >= log(1e4)
    assert crossed_sr.any(axis=1).all()
    simulated = float(np.quantile(crossed_sr.argmax(axis=1) + 1, power)) * TOKENS
    assert simulated / 1.5 <= price.tokens <= 1.5 * simulated
    assert price.optimum_tokens == pytest.approx(log(1e4) / of.nats_per_token)


def test_the_fastest_bet_decides_and_none_means_never() -> None:
    slow, fast = size(None, 0.1), size(None, 1.0)
    both = replace(slow, growths=[*slow.growths, *fast.growths])
    assert both.tokens_to_alarm(1e-4, 0.9) == fast.tokens_to_alarm(1e-4, 0.9)
    assert replace(slow, growths=[]).tokens_to_alarm(1e-4, 0.9) == inf


def test_prices_between_two_measured_rates_lie_between_theirs() -> None:
    sizes = [size(0.1, 1.0), size(0.001, 0.01), size(0.01, 0.1)]
    measured = [verdict_price(sizes, "kind", rate, alarm_level=1e-4, power=0.9) for rate in (0.001, 0.01, 0.1)]
    between = verdict_price(sizes, "kind", 0.03, alarm_level=1e-4, power=0.9)
    assert between.between == (0.01, 0.1)
    assert measured[2].tokens < between.tokens < measured[1].tokens
    middle = verdict_price(sizes, "kind", (0.01 * 0.1) ** 0.5, alarm_level=1e-4, power=0.9)
    assert middle.tokens == pytest.approx((measured[1].tokens * measured[2].tokens) ** 0.5)
    assert measured[1].between == (0.01, 0.01)
    assert verdict_price(sizes, "kind", None, alarm_level=1e-4, power=0.9) == measured[2]


def test_a_rate_next_to_one_that_is_never_seen_is_never_seen() -> None:
    sizes = [size(0.1, 1.0), replace(size(0.01, 0.1), growths=[])]
    assert verdict_price(sizes, "kind", 0.03, alarm_level=1e-4, power=0.9).tokens == inf
    assert verdict_price(sizes, "kind", 0.1, alarm_level=1e-4, power=0.9).tokens < inf


@pytest.mark.parametrize(
    ("deviation", "rate", "message"),
    [("other", None, "known: kind, plain"), ("kind", 0.2, "from 0.01 to 0.1"), ("plain", 0.1, "has no rate")],
)
def test_what_was_not_measured_is_refused(deviation: str, rate: float | None, message: str) -> None:
    sizes = [size(0.1, 1.0), size(0.01, 0.1), size(None, 1.0, deviation="plain")]
    with pytest.raises(StatisticsError, match=message):
        verdict_price(sizes, deviation, rate, alarm_level=1e-4, power=0.9)
