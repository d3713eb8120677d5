from math import inf

import pytest

from weightwarden.cli.reports.calibration import growth_table
from weightwarden.verifier.calibration.growth import MULTIPLES, TrafficGrowth


def table(nats: tuple[float, float, float, float]) -> str:
    rows = [
        TrafficGrowth(multiple=multiple, honest_tokens=13_013 * multiple, nats_per_token=one)
        for multiple, one in zip(MULTIPLES, nats, strict=True)
    ]
    return growth_table(rows)


def test_the_table_says_what_each_amount_of_traffic_buys() -> None:
    said = table((0.0118, 0.0138, 0.017, 0.0201))
    assert [line.split()[0] for line in said.splitlines()[4:8]] == ["13,013", "26,026", "130,130", "odds"]
    assert said.splitlines()[4].split() == ["13,013", "0.0118", "780"]
    assert (
        "after about 780 audited tokens; with ten times as much honest traffic after about 540 audited tokens; with any"
        " amount after about 460 audited tokens at the earliest."
    ) in said


@pytest.mark.parametrize(
    ("nats", "sentence"),
    [
        ((0.0, 0.0, 0.0, 0.0), "No amount does: this traffic offers hardly an alternative."),
        ((0.0, 0.0, 0.01, 0.02), "see such an attacker never; with ten times as much honest traffic after about 920"),
    ],
)
def test_the_sentence_is_true_where_a_test_has_no_power(nats: tuple[float, float, float, float], sentence: str) -> None:
    assert sentence in table(nats)
    assert MULTIPLES[-1] == inf
