"""Lone outliers: an attacker whose every answer holds one token that no honest server would have said."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.recorded import FILTERED, records_of
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.verification.series_monitor import SeriesMonitor
from weightwarden.verifier.verification.verifier import Verifier

FALSE_ALARM = 1e-4


def one_token_answers(rng: np.random.Generator, vocabulary: int, count: int = 40) -> list[Record]:
    """Answers of one random token each: log2 V bits apiece."""
    return [_answer(record, [int(rng.integers(vocabulary))]) for record in records_of(FILTERED)[:count]]


def cut_short(rng: np.random.Generator, vocabulary: int, count: int = 30) -> list[Record]:
    """Honest answers that end with one random token."""
    return [
        _answer(record, [*record.output_token_ids[:12], int(rng.integers(vocabulary))])
        for record in records_of(FILTERED)[:count]
    ]


def _answer(record: Record, output: list[int]) -> Record:
    sampling = record.sampling.model_copy(update={"max_tokens": len(output)})
    return record.model_copy(
        update={"output_token_ids": output, "sampling": sampling, "finish_reason": "length", "stop_reason": None}
    )


@pytest.mark.parametrize("attack", [one_token_answers, cut_short])
def test_lone_outliers_flag_no_record_and_the_run(
    attack: Callable[[np.random.Generator, int], list[Record]], replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    vocabulary = replayer.identity.vocabulary
    found = Verifier(replayer, bundled_policy).verify(attack(np.random.default_rng(3), vocabulary))
    assert not found.flagged
    assert found.outlying > 0.9 * found.records
    assert found.outlying > 10 * found.honest_outlying
    assert found.run_p_value <= RUN_ALARM_LEVEL
    assert found.alarm
    for longest in (64, 1024, 2**17):  # the operator's to say
        series = SeriesMonitor.new(bundled_policy, float(np.log2(vocabulary)), longest)
        series.add(found.watched)
        assert series.alarms_at(FALSE_ALARM), longest
