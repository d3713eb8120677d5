"""The limit of a series holds at every moment, whatever the answers are, and comes down as its draws are added."""

from collections.abc import Callable
from math import inf, isinf, log

import numpy as np
import pytest

from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import MAX_END_BITS
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.series_limit import CODES, SeriesLimit, price_ratios
from weightwarden.verifier.verification.series_statement import series_statement

BITS = 15.6
Fill = Callable[[np.random.Generator, IntArray], FloatArray]


def drawn(
    rng: np.random.Generator, design: SamplingDesign, tokens_r: IntArray, bits_r: FloatArray
) -> tuple[AuditedPopulation, dict[CodeName, FloatArray]]:
    """A draw of records that carry so many bits under both codes."""
    audited_r = rng.random(len(tokens_r)) < design.probabilities(tokens_r)
    left = LengthTable.of_records(tokens_r[~audited_r])
    return AuditedPopulation.of(tokens_r[audited_r], [], left, design), dict.fromkeys(CODES, bits_r[audited_r])


def most(tokens_r: IntArray) -> FloatArray:
    return np.asarray(tokens_r * BITS + MAX_END_BITS, np.float64)


def longest(rng: np.random.Generator, tokens_r: IntArray) -> FloatArray:
    return np.where(tokens_r >= np.quantile(tokens_r, 0.97), most(tokens_r), 0.0)


def shortest(rng: np.random.Generator, tokens_r: IntArray) -> FloatArray:
    return np.where(tokens_r <= np.quantile(tokens_r, 0.3), most(tokens_r), 0.0)


def at_random(rng: np.random.Generator, tokens_r: IntArray) -> FloatArray:
    return np.where(rng.random(len(tokens_r)) < 0.02, most(tokens_r), 0.0)


def a_share(rng: np.random.Generator, tokens_r: IntArray) -> FloatArray:
    return 0.05 * most(tokens_r)


def test_a_series_has_prices_for_some_lengths_by_records_and_for_the_worst_by_tokens() -> None:
    risk = -log(1 - 0.01)
    by_records = price_ratios(BITS, SamplingDesign(0.01), 8192)
    assert by_records.tolist() == pytest.approx([(n * BITS + MAX_END_BITS) / risk for n in (1024, 4096, 8192)])
    assert price_ratios(BITS, SamplingDesign(0.01), 100).tolist() == pytest.approx([(100 * BITS + MAX_END_BITS) / risk])
    shorter = price_ratios(BITS, SamplingDesign(0.01), 8192, shortest=64)
    assert shorter.tolist() == pytest.approx([(n * BITS + MAX_END_BITS) / risk for n in (64, 256, 1024, 4096, 8192)])
    design = SamplingDesign(0.01, "tokens")
    (by_tokens,) = price_ratios(BITS, design, 8192)
    each = [(n * BITS + MAX_END_BITS) / -log(1 - design.probability(n)) for n in range(8193)]
    assert by_tokens == pytest.approx(max(each))
    assert np.isfinite(price_ratios(BITS, SamplingDesign(1.0), 8192)).all()
    assert np.isfinite(price_ratios(BITS, SamplingDesign(1.0, "tokens"), 100_000)).all()
    with pytest.raises(StatisticsError, match="token"):
        price_ratios(BITS, SamplingDesign(0.01), 0)


def test_where_every_record_is_audited_the_limit_is_what_was_charged() -> None:
    series, tokens_r = SeriesLimit.new(BITS, SamplingDesign(1.0), 8192), np.array([3, 40, 500])
    assert series.limit("pooled", 0.99) is None
    bits_r: dict[CodeName, FloatArray] = {"counting": np.array([1.0, 2.0, 3.0]), "pooled": np.array([0.5, 0.5, 0.5])}
    series.add(AuditedPopulation.whole(tokens_r), bits_r)
    for code in CODES:
        limit, bits = series.limit(code, 0.99), bits_r[code].sum()
        assert limit is not None
        assert (limit.bits, limit.rate_bits, limit.stock_bits, limit.tokens) == (bits, bits, 0.0, 543)
        said = series_statement(series, "pooled", 0.99, "Since May") or ""
        assert said.startswith("Since May, 3 answers with 543 output tokens, every one audited, have carried at most ")
        assert "confidence" not in said


def test_a_series_is_kept_as_it_is() -> None:
    rng, design = np.random.default_rng(0), SamplingDesign(0.1, "tokens")
    series = SeriesLimit.new(BITS, design, 4096)
    tokens_r = rng.integers(0, 4096, 300)
    given = drawn(rng, design, tokens_r, a_share(rng, tokens_r))
    series.add(*given)
    again = SeriesLimit.from_dict(series.to_dict())
    assert again.to_dict() == series.to_dict()
    assert again.limit("counting", 0.99) == series.limit("counting", 0.99)
    unaudited = given[0].unaudited
    table = LengthTable.from_bytes(unaudited.to_bytes())
    assert table.tokens == unaudited.tokens
    assert table.records_u.tolist() == unaudited.records_u.tolist()
    assert LengthTable.from_bytes(LengthTable.of({}).to_bytes()).tokens == 0


@pytest.mark.parametrize("fill", [longest, shortest, at_random, a_share])
@pytest.mark.parametrize("by", ["records", "tokens"])
def test_the_limit_holds_at_every_look(fill: Fill, by: str) -> None:
    """Lengths are 1 to 1000 times each other; rates rise and fall; the last days have longer records than foreseen."""
    rng, runs, confidence = np.random.default_rng(1), 120, 0.9
    design = SamplingDesign(0.02, by)  # type: ignore[arg-type]
    wrong = 0
    for _ in range(runs):
        series, carried, failed = SeriesLimit.new(BITS, design, 2000), 0.0, False
        for rate, longest_record in (
            (0.02, 1000),
            (0.3, 1000),
            (0.05, 1000),
            (0.02, 2000),
            (0.005, 2000),
            (0.02, 9000),
        ):
            tokens_r = np.minimum(np.exp(rng.uniform(0, log(longest_record), 400)).astype(int), longest_record)
            bits_r = fill(rng, tokens_r)
            given = drawn(rng, SamplingDesign(rate, by), tokens_r, bits_r)  # type: ignore[arg-type]
            series.add(*given)
            carried += float(bits_r.sum())
            limit = series.limit("pooled", confidence)
            assert limit is not None
            failed = failed or limit.bits < carried
        wrong += failed
    assert wrong <= runs * (1 - confidence) + 2.6 * np.sqrt(runs * confidence * (1 - confidence))


@pytest.mark.parametrize("empty_draws_count", [True, False])
def test_a_gambler_who_stops_when_seen_outwits_the_limit_as_seldom_as_stated(*, empty_draws_count: bool) -> None:
    """Some answers a day are payload throughout, until one of them is audited. This is the limit's worst case."""
    rng, runs, confidence = np.random.default_rng(2), 400, 0.9
    design, tokens_r, payload_r = SamplingDesign(0.05), np.full(40, 500), np.zeros(40)
    payload_r[:3] = most(tokens_r)[:3]
    wrong = 0
    for _ in range(runs):
        series, carried, failed, seen = SeriesLimit.new(BITS, design, 500), 0.0, False, False
        for _ in range(25):
            bits_r = np.zeros(40) if seen else payload_r
            given = drawn(rng, design, tokens_r, bits_r)
            if not empty_draws_count and not len(given[0].tokens_r):
                continue
            series.add(*given)
            carried, seen = carried + float(bits_r.sum()), seen or bool(given[1]["pooled"].any())
            limit = series.limit("pooled", confidence)
            assert limit is not None
            failed = failed or limit.bits < carried
        wrong += failed
    assert 0 < wrong <= runs * (1 - confidence) + 2.6 * np.sqrt(runs * confidence * (1 - confidence))


def test_days_narrow_the_limit_and_do_not_add_up() -> None:
    rng, design = np.random.default_rng(3), SamplingDesign(0.01, "tokens")
    series, limits = SeriesLimit.new(BITS, design, 4096), []
    for _ in range(10):
        tokens_r = np.clip(rng.lognormal(log(300) - 0.5, 1.0, 20_000).astype(int), 1, 4096)
        given = drawn(rng, design, tokens_r, 0.07 * tokens_r)
        series.add(*given)
        limit = series.limit("pooled", 0.99)
        assert limit is not None
        limits.append(limit)
    per_token = [limit.bits_per_token for limit in limits]
    assert per_token == sorted(per_token, reverse=True)
    assert per_token[-1] < 0.25 < 1.0 < per_token[0]
    assert limits[-1].stock_bits < 1.2 * limits[0].stock_bits
    said = series_statement(series, "pooled", 0.99, "Since May") or ""
    assert "200,000 answers" in said
    assert "audited or not" in said
    assert "with 99% confidence" in said
    assert "once" in said


def test_a_lower_rate_than_foreseen_is_wide_and_true() -> None:
    rng = np.random.default_rng(4)
    series, tokens_r = SeriesLimit.new(BITS, SamplingDesign(0.5), 1000), rng.integers(900, 1000, 2000)
    given = drawn(rng, SamplingDesign(0.001), tokens_r, a_share(rng, tokens_r))
    series.add(*given)
    limit = series.limit("pooled", 0.99)
    assert limit is not None
    assert limit.excess_bits > 0.9 * most(tokens_r).sum()
    assert limit.bits <= limit.most_bits


def test_the_tokens_that_are_foretold_make_the_limit() -> None:
    rng, design, wanted = np.random.default_rng(5), SamplingDesign(0.05, "tokens"), 1.5
    series = SeriesLimit.new(BITS, design, 1000)
    nothing_yet = series.tokens_until("pooled", wanted, 0.99, share=0.05)
    assert 0 < nothing_yet < inf
    assert isinf(series.tokens_until("pooled", 0.0, 0.99, share=0.05))
    foretold = [nothing_yet]
    while foretold[-1]:
        tokens_r = rng.integers(500, 1000, 500)
        given = drawn(rng, design, tokens_r, 0.1 * tokens_r.astype(np.float64))
        before = series.audited_tokens
        series.add(*given)
        foretold.append(series.tokens_until("pooled", wanted, 0.99, share=0.05))
        last = series.audited_tokens - before
    assert foretold[1] + before - last < 1.5 * series.audited_tokens
    assert foretold[1] > 0.5 * (series.audited_tokens - last)
    limit = series.limit("pooled", 0.99)
    assert limit is not None
    assert limit.bits_per_token <= wanted
    assert isinf(series.tokens_until("pooled", 0.05, 0.99, share=0.05))


def test_unaudited_series_says_that_it_says_nothing() -> None:
    series = SeriesLimit.new(BITS, SamplingDesign(0.01), 1000)
    nothing = AuditedPopulation.of([], [], LengthTable.of({10: 3}), SamplingDesign(0.01))
    series.add(nothing, dict.fromkeys(CODES, np.zeros(0)))
    limit = series.limit("pooled", 0.99)
    assert limit is not None
    assert limit.bits == pytest.approx(3 * (10 * BITS + MAX_END_BITS))
    assert "too little was audited" in (series_statement(series, "pooled", 0.99, "Since May") or "")
