from math import inf, log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.verifier.statistics.detection import altered_before_alarm
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.evasion import Tactic, best_split

HIDE = Tactic("hide", 10.0, 0.0)


def few_caught(probabilities: list[float], fewer_than: int) -> float:
    """Probability that fewer than so many of independent trials succeed."""
    law = np.array([1.0])
    for p in probabilities:
        law = np.convolve(law, [1 - p, p])
    return float(law[:fewer_than].sum())


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0.01, 1.0), st.floats(0, 100)), min_size=1, max_size=4),
    st.floats(0.01, 1.0),
    st.integers(1, 5),
    st.floats(0.001, 0.25),
)
def test_no_split_that_escapes_so_often_carries_more(
    used: list[tuple[int, float, float]], audit_rate: float, alarm_at: int, escape: float
) -> None:
    caught = [audit_rate * power for count, power, _ in used for _ in range(count)]
    messages = len(caught) + 5
    if few_caught(caught, alarm_at) < escape:
        return
    carried = sum(count * bits for count, _, bits in used) + 5 * HIDE.bits
    tactics = [HIDE, *(Tactic(str(i), bits, power) for i, (_, power, bits) in enumerate(used))]
    split = best_split(tactics, messages=messages, audit_rate=audit_rate, escape_probability=escape, alarm_at=alarm_at)
    assert carried <= split.bits * (1 + 1e-9)


@pytest.mark.parametrize("alarm_at", [1, 100])
def test_the_bound_is_near_what_an_attacker_of_one_tactic_has(alarm_at: int) -> None:
    split = best_split(
        [Tactic("nothing", 0, 0), Tactic("whole", 1000.0, 1.0)],
        messages=inf,
        audit_rate=0.01,
        escape_probability=0.01,
        alarm_at=alarm_at,
    )
    assert split.gambled == altered_before_alarm(0.99, audit_rate=0.01, alarm_at=alarm_at) - 1
    assert split.bits == split.gambled_bits == 1000 * split.gambled


def test_the_tactic_that_pays_best_for_its_risk_is_taken() -> None:
    meek, bold = Tactic("meek", 20.0, 0.01), Tactic("bold", 1000.0, 1.0)
    split = best_split([HIDE, meek, bold], messages=1e6, audit_rate=0.01, escape_probability=0.01)
    assert (bold.bits - HIDE.bits) / 1.0 < (meek.bits - HIDE.bits) / 0.01
    assert split.gambling == meek
    assert split.gambled == pytest.approx(-log(100) / log1p(-0.01 * 0.01))
    assert split.hidden_bits == 10e6


def test_hiding_is_the_best_safe_tactic_and_gambling_that_does_not_pay_is_left() -> None:
    split = best_split(
        [Tactic("none", 0, 0), HIDE, Tactic("foolish", 5, 1)], messages=100, audit_rate=1, escape_probability=0.1
    )
    assert (split.hiding, split.gambling, split.gambled_bits) == (HIDE, None, 0)


def test_there_are_no_more_messages_than_there_are() -> None:
    split = best_split([HIDE, Tactic("whole", 50, 1)], messages=3, audit_rate=1e-6, escape_probability=0.01)
    assert split.bits == pytest.approx(3 * 50)


@pytest.mark.parametrize("change", [{"audit_rate": 0.0}, {"escape_probability": 0.5}, {"alarm_at": 0}])
def test_what_has_no_split_is_an_error(change: dict[str, float]) -> None:
    options = {"messages": 10, "audit_rate": 0.1, "escape_probability": 0.01} | change
    with pytest.raises(StatisticsError, match="no split"):
        best_split([HIDE], **options)  # type: ignore[arg-type]
    with pytest.raises(StatisticsError, match="never flagged"):
        best_split([Tactic("whole", 1, 1)], messages=1, audit_rate=1, escape_probability=0.1)
