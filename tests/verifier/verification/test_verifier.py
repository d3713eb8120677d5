"""The figures that the project promises, on recorded traffic of a real vLLM server."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edited_records.edits import ATTACKS
from tests.recorded import FILTERED, RECORDED, VARIED, records_of
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.ledger import UNASKED_END_SHARE
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.statistics.conditional_e_process import capital_path
from weightwarden.verifier.verification.run_verdict import NothingToVerify, Verification
from weightwarden.verifier.verification.series_monitor import LOG_RATIO
from weightwarden.verifier.verification.verifier import Verifier


@pytest.fixture(scope="module")
def verifier(replayer: TransformersReplayer, bundled_policy: Policy) -> Verifier:
    return Verifier(replayer, bundled_policy)


@pytest.fixture(scope="module")
def honest(verifier: Verifier) -> Callable[[Path], Verification]:
    """Verifies a file of recorded answers, once."""
    return cache(lambda path: verifier.verify(records_of(path)))


QUICK = (FILTERED, VARIED)
FILES = [pytest.param(path, marks=() if path in QUICK else pytest.mark.slow, id=path.stem) for path in RECORDED]


@pytest.mark.parametrize("path", FILES)
def test_honest_answers_match_and_are_cleared(honest: Callable[[Path], Verification], path: Path) -> None:
    found = honest(path)
    assert found.exact_match_rate >= 0.975
    assert not found.alarm
    assert len(found.flagged) <= found.records / 200
    assert found.early_stops == 0
    watched, rng = found.watched, np.random.default_rng(4)
    for _ in range(20):  # in any order, at any time
        order = rng.permutation(np.flatnonzero(watched["tokens"] > 0))
        log_capital_r = capital_path(watched[LOG_RATIO][order], found.honest_rates.contamination)
        assert log_capital_r.max() < np.log(100)


@pytest.mark.parametrize("path", FILES)
def test_the_leading_code_charges_honest_answers_less_than_the_other(
    honest: Callable[[Path], Verification], path: Path
) -> None:
    charges = honest(path).charges
    assert charges.pooled_bits < 0.85 * charges.counting_bits
    # Not so for every answer: one with an unlikely token is charged more by the odds.
    assert (charges.pooled_bits_r < charges.counting_bits_r + 12).all()


def test_little_is_left_to_an_attacker_and_little_is_called_dangerous(honest: Callable[[Path], Verification]) -> None:
    found = honest(FILTERED)
    assert found.count(Verdict.DANGEROUS) / found.tokens <= 3e-4
    assert found.charged_fraction <= 0.009


@pytest.mark.slow  # a record of each attack is named in the quick tier (tests/cli/commands/test_run.py)
@pytest.mark.parametrize("attack", ATTACKS)
def test_tampered_answers_are_flagged(verifier: Verifier, attack: str) -> None:
    rng = np.random.default_rng(9)
    victims = records_of(FILTERED)[30:42]
    found = verifier.verify([ATTACKS[attack](record, 49152, rng) for record in victims])
    assert len(found.flagged) == len(victims)
    assert found.alarm
    assert all(record.reasons for record in found.flagged)


def cut_off(record: Record, tokens: int, by: str) -> Record:
    return Record.model_validate(
        record.model_dump()
        | {"output_token_ids": record.output_token_ids[:tokens], "finish_reason": "abort", "stop_reason": by}
    )


def test_nothing_to_verify_is_an_error(verifier: Verifier) -> None:
    with pytest.raises(NothingToVerify):
        verifier.verify([])
    with pytest.raises(NothingToVerify, match="none of 2"):
        verifier.verify([cut_off(record, 0, "client") for record in records_of(FILTERED)[:2]])


def test_answers_cut_off_are_charged_and_flagged_only_where_the_server_is_to_blame(verifier: Verifier) -> None:
    honest = records_of(FILTERED)[:4]
    by = ["client", "logger", "upstream", "upstream"]
    records = [cut_off(r, n, b) for r, n, b in zip(honest, [5, 0, 7, 0], by, strict=True)]
    found = verifier.verify(records)
    assert found.charges.tokens_r.tolist() == [5, 0, 7, 0]
    assert [record.place for record in found.flagged] == [2, 3]
    assert found.early_stops == 4
    assert found.unanswered == 2
    assert all(record.stop_bits > 1 for record in verifier.judge(records).records)
    assert found.tokens == 12


@pytest.mark.parametrize("tokens", [0, 3])
def test_refusals_of_the_server_are_charged_and_counted_and_never_alarm(verifier: Verifier, tokens: int) -> None:
    honest = records_of(FILTERED)[:6]
    refused = [cut_off(honest[at % 6], tokens, "refused") for at in range(18)]
    good, found = verifier.verify(honest), verifier.verify([*honest, *refused])
    assert found.flagged == good.flagged == []
    assert (found.alarm, found.run_p_value) == (False, good.run_p_value)
    assert found.early_stops == 18
    assert found.unanswered == (18 if tokens == 0 else 0)
    said = -np.log2(UNASKED_END_SHARE)  # that a record ends as nobody asked says at least so many bits
    assert (found.charges.end_bits_r[6:] > said).all()
    assert found.charges.counting_bits > good.charges.counting_bits + 18 * said
    assert verifier.verify([*honest, *[cut_off(one, tokens, "upstream") for one in honest]]).alarm  # failures are not
