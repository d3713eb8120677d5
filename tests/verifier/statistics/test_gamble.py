"""The best gamble against brute force over all lengths, and against simulated audits."""

from math import inf, log, log1p

import numpy as np
import pytest
from scipy.special import gammainccinv

from tests.places import ROOT
from weightwarden.verifier.statistics.detection import most_altered
from weightwarden.verifier.statistics.gamble import gambled_tokens, whole_answer_gamble
from weightwarden.verifier.statistics.sampling_design import SamplingDesign

ESCAPE = 0.01


def gambled(design: SamplingDesign, *, length_limit: int = 4096, power: float = 1.0, alarm_at: int = 1) -> float:
    """Bits at one bit a token."""
    return whole_answer_gamble(
        design,
        bits_per_token=1.0,
        length_limit=length_limit,
        power=power,
        escape_probability=ESCAPE,
        alarm_at=alarm_at,
    ).gambled_bits


@pytest.mark.parametrize("power", [1.0, 0.9, 0.3, 1e-3])
@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1, 0.01, 1e-4, 1e-9])
@pytest.mark.parametrize("length_limit", [1, 2, 100, 1016, 4096, 40_000])
def test_no_length_pays_better_by_tokens(rate: float, power: float, length_limit: int) -> None:
    design = SamplingDesign(rate, "tokens")
    lengths = np.arange(1, length_limit + 1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        risk = -np.log1p(-design.probabilities(lengths) * power)
    most = float((lengths / risk).max()) * -log(ESCAPE)
    found = gambled(design, length_limit=length_limit, power=power)
    if length_limit > 1:  # one length alone is counted in whole answers
        assert found == pytest.approx(most, rel=1e-9)
    else:
        assert most - 1 <= found <= most * (1 + 1e-9)


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.01])
def test_where_several_flagged_answers_alarm_the_longest_pay_best(rate: float) -> None:
    for power in (1.0, 0.5):
        design, lengths = SamplingDesign(rate, "tokens"), np.arange(1, 4097)
        most = (lengths / (design.probabilities(lengths) * power)).max() * gammainccinv(5, ESCAPE)
        assert gambled(design, power=power, alarm_at=5) == pytest.approx(most, rel=1e-9)


def test_by_records_the_longest_answers_are_gambled_as_ever() -> None:
    for rate, alarm_at in ((0.01, 1), (0.3, 7), (1.0, 3), (1.0, 1)):
        count = most_altered(ESCAPE, audit_rate=rate, alarm_at=alarm_at)
        assert gambled(SamplingDesign(rate), alarm_at=alarm_at) == 4096 * count


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_mixtures_of_lengths_that_escape_so_often_carry_no_more(rate: float) -> None:
    design, rng = SamplingDesign(rate, "tokens"), np.random.default_rng(3)
    most = gambled(design)
    for _ in range(200):
        lengths = rng.integers(1, rng.integers(2, 4097), 20_000)
        escaped = np.cumsum(np.log1p(-np.minimum(design.probabilities(lengths), 1 - 1e-15)))
        assert lengths[escaped >= log(ESCAPE)].sum() <= most


def test_the_gamble_escapes_as_often_as_it_says_and_its_length_is_named() -> None:
    design = SamplingDesign(0.01, "tokens")
    found = whole_answer_gamble(design, bits_per_token=16.0, length_limit=4096, power=1.0, escape_probability=ESCAPE)
    length = gambled_tokens(found, 16.0)
    assert 1200 < length < 1330  # about 4 / sqrt(0.01 / 1024)
    answers = int(found.gambled)
    uncaught = np.random.default_rng(2).binomial(answers, design.probability(length), 100_000) == 0
    assert uncaught.mean() == pytest.approx(0.01, abs=0.0015)
    assert found.gambled == pytest.approx(log(ESCAPE) / log1p(-design.probability(length)))


def test_a_certain_audit_by_tokens_leaves_the_short_answers_to_gamble_with() -> None:
    sure = SamplingDesign(1.0, "tokens")
    assert 0 < gambled(sure) < 5 * 1024
    assert gambled(SamplingDesign(1e-300, "tokens")) < inf


def test_the_operators_page_has_the_figures_of_chat_like_answers() -> None:
    lengths = np.minimum(np.random.default_rng(1).lognormal(np.log(183.5), 1, 200_000), 4096)
    assert lengths.mean() == pytest.approx(300, rel=0.01)
    by_tokens = SamplingDesign(0.0132, "tokens")
    drawn = by_tokens.probabilities(lengths)
    assert (drawn * lengths).sum() / lengths.sum() == pytest.approx(0.01, rel=0.03)
    assert 100_000 * drawn.mean() == pytest.approx(400, rel=0.03)
    page = " ".join((ROOT / "docs" / "operator.md").read_text(encoding="utf-8").split())
    for design, mantissa in ((SamplingDesign(0.01), "3.8"), (by_tokens, "0.70")):
        found = whole_answer_gamble(
            design, bits_per_token=16.0, length_limit=4096, power=1.0, escape_probability=ESCAPE
        )
        assert found.gambled_bits / 8e6 == pytest.approx(float(mantissa), rel=0.02)
        assert f"{mantissa} MB, in {found.gambled:.0f} answers of {gambled_tokens(found, 16.0):,} tokens" in page
