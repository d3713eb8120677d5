"""What a server says beside its tokens is stopped, or charged: each attack succeeds where nothing stops it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels import bursts, each_answer, each_token, readiness, stalled_room, stream_order
from benchmarks.side_channels.release_control import ReleaseControl
from weightwarden.logger.gate.response import WHOLE_SLOT
from weightwarden.logger.release import slot_seconds
from weightwarden.verifier.statistics.exfiltration import TimingChannel

slow = pytest.mark.slow
TRIES = 4


def attacked(measured: Callable[[int], SideChannelRow], enough: float) -> SideChannelRow:
    """The row of an attack that nothing stops: the first of a few tries that decodes enough bits, or the last one.

    A busy machine blurs moments, and with them the attacker's symbols.
    """
    row = measured(0)
    for seed in range(1, TRIES):
        if row.decoded_bits > enough:
            break
        row = measured(seed)
    return row


@slow
@pytest.mark.parametrize("channel", each_token.CHANNELS, ids=lambda channel: channel.name)
def test_what_tokens_carry_beside_their_ids_is_within_the_bound(channel: each_token.Channel) -> None:
    def measured(control: ReleaseControl, seed: int = 0) -> SideChannelRow:
        return each_token.measured(channel, control, each_token.PER_ANSWER, np.random.default_rng([3, seed]))

    none, *stopping = channel.controls
    free = attacked(partial(measured, none), 10) if not channel.spoken else measured(none)
    ticked, paced = map(measured, stopping)
    assert ticked.bound_kept
    assert paced.bound_kept
    if channel.spoken:
        assert max(free.decoded_bits, ticked.decoded_bits, paced.decoded_bits) < 5
        assert free.wrong > 10  # whatever is said, the same is heard
    else:
        assert free.decoded_bits > 10  # the attack works where nothing stops it
        assert ticked.bound_bits is not None
        tokens = ticked.tokens
        assert ticked.bound_bits / tokens <= TimingChannel(tokens_per_tick=0.1).bits_per_token


@slow
def test_the_order_of_streams_is_the_servers_without_ticks_and_says_nothing_with_them() -> None:
    def measured(control: ReleaseControl, seed: int = 0) -> SideChannelRow:
        return stream_order.measured(control, 40, np.random.default_rng([4, seed]))

    none, *stopping = stream_order.CONTROLS
    free = attacked(partial(measured, none), 40)
    tick, pace = stopping
    tries = (measured(tick, seed) for seed in range(TRIES))
    ticked = next(
        (row for row in tries if row.symbols > 10), None
    )  # rounds that left on one tick: few on a busy machine
    paced = measured(pace)
    assert free.decoded_bits > 40  # the attack works where nothing stops it
    assert ticked is not None
    assert ticked.wrong >= 0.5 * ticked.symbols  # 5 of 6 are expected
    assert paced.bound_kept


@slow
@pytest.mark.parametrize("channel", each_answer.CHANNELS, ids=lambda channel: channel.name)
def test_what_an_answer_carries_as_a_whole_is_charged(channel: each_answer.Channel) -> None:
    def measured(control: ReleaseControl, seed: int = 0) -> SideChannelRow:
        return each_answer.measured(channel, control, 24, np.random.default_rng([5, seed]))

    none, _, pace = each_answer.CONTROLS
    free, paced = attacked(partial(measured, none), 10), measured(pace)
    assert free.decoded_bits > 10
    assert paced.bound_kept


@slow
def test_requests_turned_away_tell_no_more_than_the_answers_that_fill_the_room() -> None:
    def measured(control: ReleaseControl, seed: int = 0) -> SideChannelRow:
        return stalled_room.measured(control, 10, np.random.default_rng([6, seed]))

    none, _, pace = each_answer.CONTROLS
    free, paced = attacked(partial(measured, none), 5), measured(pace)
    assert free.decoded_bits > 5
    assert paced.bound_kept


@slow
def test_readiness_carries_a_bit_a_period_at_most() -> None:
    row = attacked(lambda seed: readiness.measured(each_answer.CONTROLS[-1], 20, np.random.default_rng([7, seed])), 0)
    assert 0 < row.decoded_bits <= 20
    assert row.bound_bits == 20


@slow
def test_load_is_measured_in_every_tick_with_and_without_a_flood() -> None:
    rows, jitter = bursts.measured(bursts.CONTROLS[1], 20, np.random.default_rng(8))
    assert [row.symbols for row in rows] == [20, 20]
    for what in ("group of an answer", "/health"):
        calm, flooded = (row for row in jitter if row.name == what)
        assert calm.moments + flooded.moments == 20
        assert max(calm.late_max_ms, flooded.late_max_ms) > 0
    health = next(row for row in jitter if row.name == "/health" and not row.flooded)
    assert health.late_p50_ms >= 1000 * slot_seconds(WHOLE_SLOT)


def test_what_is_decoded_of_symbols_is_all_when_none_is_wrong_and_nothing_when_they_are_chance() -> None:
    def row(wrong: int) -> SideChannelRow:
        return SideChannelRow(name="", control="none", tokens=0, symbols=60, alphabet=4, wrong=wrong, bound_bits=None)

    assert row(0).decoded_bits == row(0).offered_bits == 120
    assert row(45).decoded_bits == 0
    assert 0 < row(44).decoded_bits < 1
    assert row(6).decoded_bits == pytest.approx(60 * (2 - 0.469 - 0.1 * np.log2(3)), abs=0.05)
