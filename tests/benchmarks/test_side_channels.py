"""White space carries nothing through the sidecar; pauses do, and ticks bound what they can say."""

import numpy as np
import pytest

from benchmarks.side_channels import CHANNELS, PER_ANSWER, TICK_MS, Channel, Row, measured
from verifier.statistics.exfiltration import Timing


@pytest.fixture(params=CHANNELS, ids=lambda channel: channel.name)
def channel(request: pytest.FixtureRequest) -> Channel:
    found: Channel = request.param
    return found


def row_of(channel: Channel, tick_ms: int | None) -> Row:
    return measured(channel, tick_ms, PER_ANSWER, np.random.default_rng(3))


def test_what_reaches_the_client_is_within_the_bound(channel: Channel) -> None:
    free, ticked = row_of(channel, None), row_of(channel, TICK_MS)
    assert ticked.bound_kept
    if channel.name == "white space":
        assert free.decoded_bits < 5
        assert ticked.decoded_bits < 5
        assert free.wrong_bits > 10  # whatever is said, the same is heard
    else:
        assert free.decoded_bits > 15  # the attack works where nothing stops it
        assert ticked.bound_bits is not None
        assert ticked.bound_bits / ticked.offered_bits <= Timing(tokens_per_tick=0.1).bits_per_token
