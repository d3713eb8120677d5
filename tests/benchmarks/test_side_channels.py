"""White space and order carry nothing through the sidecar with ticks; pauses do, and ticks bound what they can say."""

import numpy as np
import pytest

from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels import stream_order
from benchmarks.side_channels.each_token import CHANNELS, PER_ANSWER, TICK_MS, Channel, measured
from weightwarden.verifier.statistics.exfiltration import TimingChannel

pytestmark = pytest.mark.slow


@pytest.fixture(params=CHANNELS, ids=lambda channel: channel.name)
def channel(request: pytest.FixtureRequest) -> Channel:
    found: Channel = request.param
    return found


def row_of(channel: Channel, tick_ms: int | None) -> SideChannelRow:
    return measured(channel, tick_ms, PER_ANSWER, np.random.default_rng(3))


def test_what_reaches_the_client_is_within_the_bound(channel: Channel) -> None:
    free, ticked = row_of(channel, None), row_of(channel, TICK_MS)
    assert ticked.bound_kept
    if channel.name == "white space":
        assert free.decoded_bits < 5
        assert ticked.decoded_bits < 5
        assert free.wrong > 10  # whatever is said, the same is heard
    else:
        assert free.decoded_bits > 15  # the attack works where nothing stops it
        assert ticked.bound_bits is not None
        assert ticked.bound_bits / ticked.symbols <= TimingChannel(tokens_per_tick=0.1).bits_per_token


def test_the_order_of_streams_is_the_servers_without_ticks_and_says_nothing_with_them() -> None:
    free, ticked = (stream_order.measured(tick, 40, np.random.default_rng(4)) for tick in (None, stream_order.TICK_MS))
    assert free.decoded_bits > 40  # the attack works where nothing stops it
    assert ticked.symbols > 10
    assert ticked.wrong >= 0.5 * ticked.symbols  # 5 of 6 are expected


def test_what_is_decoded_of_symbols_is_all_when_none_is_wrong_and_nothing_when_they_are_chance() -> None:
    def row(wrong: int) -> SideChannelRow:
        return SideChannelRow(name="", tick_ms=None, tokens=0, symbols=60, alphabet=4, wrong=wrong, bound_bits=None)

    assert row(0).decoded_bits == row(0).offered_bits == 120
    assert row(45).decoded_bits == 0
    assert 0 < row(44).decoded_bits < 1
    assert row(6).decoded_bits == pytest.approx(60 * (2 - 0.469 - 0.1 * np.log2(3)), abs=0.05)
