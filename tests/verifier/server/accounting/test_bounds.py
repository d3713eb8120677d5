"""The bandwidth ledger covers what is audited, what is not, and what cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.logger.record import Record
from weightwarden.verifier.audit_selection import AuditDraw, select_records
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.accounting.bounds import Exposure
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen, traffic_seen
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation
from weightwarden.verifier.verification.length_table import LengthTable
from weightwarden.verifier.verification.series_limit import CODES, SeriesLimit

DAY = 86_400.0
BITS = float(np.log2(49_152))


@pytest.fixture
def server(tmp_path: Path, bundled_policy: Policy) -> Server:
    server = server_in(tmp_path, CheapReplayer(bundled_policy, Path()), bundled_policy)
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


def test_the_limit_has_a_part_that_grows_and_one_that_counts_once(server: Server) -> None:
    """Every answer was audited, so that nothing counts once; a draw of some leaves a stock, which takes no time."""
    every_one = exposure(server, seen(server)).leading
    assert every_one is not None
    assert every_one.parts.stock_bits == 0.0
    assert every_one.parts.rate == pytest.approx(every_one.parts.audited)
    assert every_one.parts.limit_bits == pytest.approx(96 * every_one.parts.rate)
    with server.opened.database.reading() as connection:
        accounts = Accounts.from_bytes(current_accounts(connection).to_bytes())
    accounts.limit = SeriesLimit.new(BITS, SamplingDesign(0.5), 100)
    audited = AuditedPopulation.of(np.full(1000, 100), [], LengthTable.of({100: 1000}), SamplingDesign(0.5))
    accounts.limit.add(audited, dict.fromkeys(CODES, np.full(1000, 5.0)))
    some = server.opened.exposure.of(accounts, seen(server))
    assert some.leading is not None
    parts = some.leading.parts
    assert parts.limit_bits == pytest.approx(200_000 * parts.rate + parts.stock_bits)
    assert 0.05 < parts.rate < 0.08  # 5 bits of 100 tokens, and the growth of the bets
    assert 1700 < parts.stock_bits < 20_000  # some records of 1,644 bits
    assert some.estimate is not None
    assert some.estimate.terms[0].bits_per_day == pytest.approx(parts.rate * 48, rel=0.01)
    assert some.statement is not None
    assert "2,000 answers with 200,000 output tokens, audited or not" in some.statement
    assert some.statement.startswith("Since 2027-01-15 08:00 UTC, ")


def test_the_gamble_is_at_the_least_rate_of_the_last_days(server: Server) -> None:
    traffic = seen(server)
    half, seldom = SamplingDesign(0.5), SamplingDesign(0.001)
    by_tokens, every_one = SamplingDesign(0.001, "tokens"), SamplingDesign(1.0)

    def gambled(*designs: SamplingDesign) -> tuple[float, str]:
        found = exposure(server, replace(traffic, design=half, least_designs=designs))
        assert found.estimate is not None
        return found.estimate.gamble.gambled_bits, next(said for said in found.assumptions if "Gambling" in said)

    assert gambled(seldom)[0] > gambled(half)[0]
    assert gambled(seldom)[0] > 3 * gambled(by_tokens)[0]
    assert gambled(every_one, by_tokens) == gambled(by_tokens)
    assert "at audit rate 0.001 by tokens, the least of the last days" in gambled(every_one, by_tokens)[1]
    assert gambled(seldom, by_tokens) == gambled(seldom)


def test_by_tokens_long_answers_are_drawn_and_the_status_says_so(tmp_path: Path, bundled_policy: Policy) -> None:
    lengths = [1, 8, 100, 1016, 1500, 4000] * 20
    one = honest(1)[0].model_dump()
    one["sampling"]["max_tokens"] = 4096
    cut = one | {"finish_reason": "abort", "stop_reason": "client"}
    records = [Record.model_validate(cut | {"output_token_ids": [1] * length}) for length in lengths]
    server = server_in(
        tmp_path, CheapReplayer(bundled_policy, Path()), bundled_policy, audit_rate=0.25, audit_by="tokens"
    )
    log = Log(tmp_path / "archives")
    log.seal(records)
    server.settle()
    drawn = select_records(AuditDraw(0.25, b"a secret of the auditor's", "tokens"), log.tree.root(), lengths)
    with server.opened.database.reading() as connection:
        status, accounts = status_of(server.opened, connection), current_accounts(connection)
    assert (status.audit.by, status.audit.rate) == ("tokens", 0.25)
    share = sum(lengths[index] for index in drawn) / sum(lengths)
    assert status.audit.selected_share == status.audit.audited_share == pytest.approx(share)
    assert status.audit.audited_records == len(drawn) < 60
    assert share > 0.5
    refused = accounts.sequences["refusals"].limits()
    assert refused.high > 0.05  # one drawn short answer stands for hundreds
