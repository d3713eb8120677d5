"""The moments at which groups leave the gate: a function of the moments at which they were there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.gate.frames import Frame, FrameReader, Kind
from weightwarden.logger.gate.response import WHOLE_SLOT, GatedResponse
from weightwarden.logger.gate.schedule import Schedule, first_slot
from weightwarden.logger.release import SLOTS, slot_seconds

TICK = 0.2


def group(data: bytes, *, choice: int = 0, last: bool = False) -> Frame:
    return Frame(Kind.GROUP, data, choice, last)


def left(response: GatedResponse, until: float) -> list[tuple[float, bytes]]:
    """What leaves until a moment, each at its own moment."""
    found = []
    while (moment := response.moment()) is not None and moment <= until and not response.complete:
        if data := response.leave(moment):
            found.append((moment, data))
    return found


@given(st.floats(0, 10_000))
def test_the_first_slot_is_the_first_moment_that_is_not_before(seconds: float) -> None:
    slot = first_slot(seconds)
    assert slot == SLOTS - 1 or slot_seconds(slot) >= seconds - 2e-6
    assert slot == 0 or slot_seconds(slot - 1) < seconds


def test_groups_leave_a_tick_apart_however_early_they_came() -> None:
    response = GatedResponse(100.0, TICK)
    response.add(Frame(Kind.BEGIN, choice=1), 100.3)
    response.add(Frame(Kind.TEXT, b"head "), 100.3)
    for data in (b"a", b"b", b"c"):
        response.add(group(data, last=data == b"c"), 100.3)
    response.add(Frame(Kind.TEXT, b" tail"), 100.3)
    response.end(100.3)
    start = 100.0 + slot_seconds(first_slot(0.3))
    found = left(response, 200)
    assert [data for _, data in found] == [b"head a", b"b", b"c tail"]
    assert [moment for moment, _ in found] == pytest.approx([start, start + TICK, start + 2 * TICK])
    assert response.report()["schedules"] == [{"start_slot": first_slot(0.3), "underruns": []}]
    assert response.complete


def test_a_tick_that_finds_no_group_is_an_underrun() -> None:
    response = GatedResponse(0.0, TICK)
    response.add(Frame(Kind.BEGIN, choice=1), 0.1)
    response.add(group(b"a"), 0.1)
    [(start, _)] = left(response, 0.5)
    response.add(group(b"b"), start + 2.5 * TICK)
    assert [moment for moment, _ in left(response, 9)] == pytest.approx([start + 3 * TICK])
    response.add(group(b"c", last=True), start + 3.1 * TICK)
    response.end(start + 3.1 * TICK)
    assert [moment for moment, _ in left(response, 9)] == pytest.approx([start + 4 * TICK])
    assert response.report()["schedules"][0]["underruns"] == [[1, 2]]


def test_the_very_last_group_waits_for_what_follows_it() -> None:
    response = GatedResponse(0.0, TICK)
    response.add(Frame(Kind.BEGIN, choice=2), 0.1)
    response.add(group(b"a", last=True), 0.1)
    response.add(group(b"b", choice=1, last=True), 0.1)
    [(_, data)] = left(response, 0.5)
    assert data == b"a"
    assert response.moment() is None
    response.add(Frame(Kind.TEXT, b"tail"), 1.0)
    response.end(1.0)
    [(moment, data)] = left(response, 9)
    assert moment == pytest.approx(slot_seconds(first_slot(1.0)))
    assert data == b"btail"


def test_choices_leave_a_moment_in_their_order() -> None:
    response = GatedResponse(0.0, TICK)
    response.add(Frame(Kind.BEGIN, choice=3), 0.1)
    for choice in (2, 0, 1):
        response.add(group(b"%d" % choice, choice=choice, last=True), 0.1 + choice / 1000)
    response.end(0.11)
    [(_, data)] = left(response, 9)
    assert data == b"012"


def test_a_whole_response_leaves_on_a_slot_at_which_all_of_it_is_there() -> None:
    response = GatedResponse(5.0, TICK)
    response.add(Frame(Kind.TEXT, b"HTTP "), 6.0)
    assert response.moment() is None
    response.add(Frame(Kind.TEXT, b"body"), 7.0)
    response.end(7.0)
    [(moment, data)] = left(response, 99)
    assert (moment, data) == (5.0 + slot_seconds(first_slot(2.0)), b"HTTP body")
    assert response.report() == {
        "complete": True,
        "streamed": False,
        "schedules": [{"start_slot": first_slot(2.0), "underruns": []}],
    }


@pytest.mark.parametrize("came", [0.001, 0.05, 0.2])
def test_how_fast_a_whole_response_came_does_not_show(came: float) -> None:
    response = GatedResponse(100.0, TICK)
    response.add(Frame(Kind.TEXT, b"all"), 100.0 + came)
    response.end(100.0 + came)
    assert left(response, 101.0) == [(100.0 + slot_seconds(WHOLE_SLOT), b"all")]
    assert response.report()["schedules"] == [{"start_slot": WHOLE_SLOT, "underruns": []}]


def test_a_gate_that_was_late_reports_the_tick_on_which_a_group_left() -> None:
    schedule = Schedule(0.0, TICK)
    schedule.leave(0.1, slot_seconds(first_slot(0.1)))
    start = slot_seconds(first_slot(0.1))
    assert schedule.due(start + 0.01) == pytest.approx(start + TICK)
    schedule.leave(start + 0.01, start + 3.5 * TICK)
    assert schedule.missed == [0, 2]
    assert schedule.due(start + 0.02) == pytest.approx(start + 4 * TICK)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=12))
def test_the_report_tells_every_moment(waits: list[float]) -> None:
    """The schedule in the report gives the moments back exactly: they hold nothing beside it."""
    response = GatedResponse(0.0, TICK)
    response.add(Frame(Kind.BEGIN, choice=1), 0.0)
    now, moments = 0.0, []
    for at, wait in enumerate(waits):
        now += wait
        moments += [moment for moment, _ in left(response, now)]
        response.add(group(b"x", last=at == len(waits) - 1), now)
    response.end(now)
    moments += [moment for moment, _ in left(response, 1e9)]
    [schedule] = response.report()["schedules"]
    missed = dict(schedule["underruns"])
    told = [slot_seconds(schedule["start_slot"])]
    for at in range(1, len(waits)):
        told.append(told[-1] + (1 + missed.get(at, 0)) * TICK)
    assert moments == pytest.approx(told)


@given(
    st.lists(
        st.builds(Frame, st.sampled_from(Kind), st.binary(max_size=9), st.integers(0, 65535), st.booleans()), max_size=5
    ),
    st.integers(1, 9),
)
def test_frames_are_read_from_any_pieces(frames: list[Frame], size: int) -> None:
    data = b"".join(frame.encode() for frame in frames)
    reader = FrameReader()
    read = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert read == frames
