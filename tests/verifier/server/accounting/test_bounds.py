"""The bandwidth ledger covers what is audited, what is not, and what cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.accounting.bounds import Exposure
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen, traffic_seen

DAY = 86_400.0
BITS = float(np.log2(49_152))


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    server = server_in(tmp_path, replayer, bundled_policy)
    log = Log(tmp_path / "archives")
    log.seal(honest(6))
    server.settle()
    server.clock.now += DAY
    log.seal(honest(12)[6:])
    server.settle()
    return server


def seen(server: Server) -> TrafficSeen:
    with server.opened.database.reading() as connection:
        return traffic_seen(connection, server.clock())


def exposure(server: Server, traffic: TrafficSeen) -> Exposure:
    with server.opened.database.reading() as connection:
        return server.opened.exposure.of(current_accounts(connection), traffic)


def test_what_was_there_before_tells_no_pace(server: Server) -> None:
    traffic = seen(server)
    assert (traffic.records, traffic.tokens) == (12, 96)
    assert traffic.tokens_per_day == pytest.approx(48, rel=0.01)  # the second archive alone


def test_the_sum_is_of_what_is_counted_and_timing_is_open(server: Server) -> None:
    found = exposure(server, seen(server)).estimate
    assert found is not None
    assert found.bits_per_day == pytest.approx(sum(term.bits_per_day for term in found.terms if term.counted))
    assert [term.name for term in found.terms if not term.counted] == ["timing"]


def test_tokens_beyond_what_a_record_weighs_may_be_anything(server: Server) -> None:
    """A server that puts most of its traffic into records that count little must not make the bound small."""
    traffic = seen(server)
    before = exposure(server, traffic).leading
    after = exposure(server, replace(traffic, weight=traffic.tokens // 10)).leading
    assert before is not None
    assert after is not None
    assert before.limit <= BITS
    assert after.limit >= 0.9 * BITS
    assert after.limit >= before.limit


def test_the_gamble_is_at_the_least_rate_of_the_last_days(server: Server) -> None:
    traffic = seen(server)
    often = exposure(server, replace(traffic, rate=0.5, least_rate=0.5)).estimate
    seldom = exposure(server, replace(traffic, rate=0.5, least_rate=0.001)).estimate
    assert often is not None
    assert seldom is not None
    assert seldom.gamble.gambled_bits > often.gamble.gambled_bits
