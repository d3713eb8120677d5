"""The release of an answer: paces, moments of the start, and groups."""

from itertools import pairwise

import pytest

from weightwarden.logger.release import SLOT_RATIO, SLOTS, Pace, PaceError, run_lengths, slot_seconds


def test_a_pace_is_tokens_and_milliseconds() -> None:
    pace = Pace.parse("8/200")
    assert (pace.tokens, pace.seconds, str(pace)) == (8, 0.2, "8/200")


@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_first_group_has_one_token_and_each_later_one_as_many_as_the_pace_says(size: int) -> None:
    pace = Pace(tokens=size, milliseconds=200)
    groups = [[0], *([1 + group * size + at for at in range(size)] for group in range(5))]
    assert [pace.last_token(group) for group in range(6)] == [tokens[-1] for tokens in groups]
    for tokens in range(1, 5 * size):
        [last] = [group for group, held in enumerate(groups) if tokens - 1 in held]
        assert pace.groups(tokens) == last + 1
        assert pace.fills_groups(tokens) == (groups[last][-1] == tokens - 1)
    assert pace.groups(0) == 1
    assert not pace.fills_groups(0)


@pytest.mark.parametrize(
    "text", ["", "8", "0/200", "8/0", "8/200/1", "-8/200", "8.0/200", "8/99999", "9999/200", "٨/200"]
)
def test_another_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PaceError, match="8/200"):
        Pace.parse(text)


def test_the_moments_of_the_start_are_geometric_and_reach_beyond_three_hours() -> None:
    moments = [slot_seconds(slot) for slot in range(SLOTS)]
    assert moments[0] == 0.01
    assert all(later / one == pytest.approx(SLOT_RATIO) for one, later in pairwise(moments))
    assert moments[-1] > 3 * 3600


def test_run_lengths_name_the_groups_that_were_waited_for() -> None:
    assert run_lengths([0, 0, 2, 0, 1]) == [[2, 2], [4, 1]]
    assert run_lengths([]) == []
