"""A compute budget: as much as fits, saved up while little comes, and never less than the least rate."""

from pathlib import Path

import pytest

from tests.verifier.server.running import Log, Server, honest, server_in
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.database.series import set_series
from weightwarden.verifier.server.errors import ServerSettingsError
from weightwarden.verifier.server.ingest.audit_rate import MAX_SECONDS, ComputeBudget
from weightwarden.verifier.statistics.sampling_design import SamplingDesign

BUDGET = ComputeBudget(least=0.01)


@pytest.fixture
def server(tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    """A server with one checked archive, whose records have `PER_RECORD` tokens in the mean."""
    server = server_in(tmp_path, replayer, bundled_policy)
    Log(tmp_path / "archives").seal(honest(6))
    server.settle()
    server.opened.membership.beat(tokens_per_second=100.0, compute_share=0.1)
    return server


PER_RECORD = sum(len(record.prompt_token_ids) + len(record.output_token_ids) for record in honest(6)) / 6


def rate(server: Server, records: int, after: float, spent: int = 0, budget: ComputeBudget = BUDGET) -> float:
    """The rate of so many records, so many seconds later; then so many tokens are selected."""
    server.clock.now += after
    with server.opened.database.writing() as connection:
        found = budget.design(connection, records, server.clock(), server.opened.membership.living(connection))
        budget.spend(connection, spent)
    assert found.by == budget.by or found.rate == 1
    return found.rate


def test_the_rate_is_what_the_share_of_the_machine_can_replay(server: Server) -> None:
    rate(server, 1, 0.0)
    records = 1000
    assert rate(server, records, 360.0) == pytest.approx(360 * 100 * 0.1 / (PER_RECORD * records))


def test_what_was_selected_is_no_longer_there_and_archives_at_once_do_not_get_it_twice(server: Server) -> None:
    rate(server, 1, 0.0)
    first = rate(server, 1000, 360.0, spent=3600)
    assert first > 0.01
    assert rate(server, 1000, 0.0) == 0.01
    assert rate(server, 1000, 360.0) == pytest.approx(first)


def test_what_was_saved_up_is_at_most_a_days(server: Server) -> None:
    rate(server, 1, 0.0)
    most = MAX_SECONDS * 10 / (PER_RECORD * 1_000_000)
    assert rate(server, 1_000_000, 100 * MAX_SECONDS) == pytest.approx(max(most, 0.01))


def test_debts_are_paid_before_more_than_the_least_is_audited(server: Server) -> None:
    rate(server, 1, 0.0)
    assert rate(server, 1000, 0.0, spent=7200) == 0.01
    assert rate(server, 1000, 719.0) == 0.01
    assert rate(server, 1000, 361.0) > 0.01


def test_by_tokens_the_rate_is_what_the_share_can_replay_of_answers_drawn_by_their_tokens(server: Server) -> None:
    budget = ComputeBudget(least=0.01, by="tokens")
    rate(server, 1, 0.0, budget=budget)
    lengths = [(len(record.prompt_token_ids), len(record.output_token_ids)) for record in honest(6)]
    at_rate_one = sum((prompt + output) * (output + 8) / 1024 for prompt, output in lengths) / 6
    assert rate(server, 1000, 36.0, budget=budget) == pytest.approx(36 * 100 * 0.1 / (at_rate_one * 1000))


def test_by_tokens_credit_between_a_rate_of_one_and_all_records_is_saved(server: Server) -> None:
    budget = ComputeBudget(least=0.01, by="tokens")
    rate(server, 1, 0.0, budget=budget)
    with server.opened.database.writing() as connection:
        living = server.opened.membership.living(connection)
        for cost, design in ((0.9, SamplingDesign(1.0, "tokens")), (1.1, SamplingDesign(1.0, "records"))):
            set_series(connection, credit=cost * PER_RECORD * 1000)
            assert budget.design(connection, 1000, server.clock(), living) == design


def test_an_idle_series_audits_everything(server: Server) -> None:
    rate(server, 1, 0.0)
    assert rate(server, 10, 3600.0) == 1.0


def test_a_least_rate_is_a_rate() -> None:
    for wrong in (0.0, 1.5):
        with pytest.raises(ServerSettingsError, match="least audit rate"):
            ComputeBudget(least=wrong)
