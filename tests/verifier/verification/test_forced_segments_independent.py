"""Answers of two requests from a simulated server of the embedded model, under the bundled policy."""

import numpy as np
import pytest

from benchmarks.guarantees.any_server import AnyServer
from tests.recorded import FILTERED, records_of
from weightwarden.logger.record import Reasoning, Record
from weightwarden.logger.sidecar.log.recorder import ended
from weightwarden.logger.text.ending import Ending
from weightwarden.logger.text.forced_end import ForcedEnd
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

pytestmark = pytest.mark.slow

BUDGET, LIMIT, ANSWERS = 10, 32, 4
REASONING = Reasoning(start="", end="</think>", budget=BUDGET, forced_end="\n</think>\n\n")


@pytest.fixture(scope="module")
def answers(replayer: TransformersReplayer) -> list[Record]:
    server = AnyServer.load(replayer.identity)
    asked = [
        one.model_copy(
            update={
                "output_token_ids": [],
                "reasoning": REASONING,
                "sampling": one.sampling.model_copy(update={"max_tokens": LIMIT, "ignore_eos": True}),
            }
        )
        for one in records_of(FILTERED)[:ANSWERS]
    ]
    end = ForcedEnd.of(asked[0], replayer.tokenizer)
    assert end is not None
    before = [
        [*first.output_token_ids[:BUDGET], *end.ids]
        for first in server.answers([one.model_copy(update={"reasoning": None}) for one in asked])
    ]
    rest = server.answers(
        [
            one.model_copy(update={"output_token_ids": ids}).continuation()
            for one, ids in zip(asked, before, strict=True)
        ]
    )
    return [
        Record.model_validate(ended(one, [*ids, *more.output_token_ids], Ending("length"), len(end.ids)).model_dump())
        for one, ids, more in zip(asked, before, rest, strict=True)
    ]


def test_honest_answers_are_clear_and_forced_tokens_no_evidence(
    replayer: TransformersReplayer, bundled_policy: Policy, answers: list[Record]
) -> None:
    found = Verifier(replayer, bundled_policy).verify(answers)
    assert found.flagged == []
    assert not found.alarm
    forced = sum(end - start for record in answers for start, end in record.forced())
    assert (found.forced, found.tokens) == (forced, ANSWERS * LIMIT)
    assert found.summary.margins_b.sum() == ANSWERS * LIMIT - forced
    assert found.exact_match_rate > 0.9


def test_altered_tokens_after_the_forced_end_are_caught(
    replayer: TransformersReplayer, bundled_policy: Policy, answers: list[Record]
) -> None:
    rng = np.random.default_rng(5)
    altered = []
    for record in answers:
        output = list(record.output_token_ids)
        (_, after), *_ = record.forced()
        for at in rng.choice(np.arange(after, LIMIT - 1), 3, replace=False):
            output[at] = int(rng.integers(1000, replayer.identity.vocabulary))
        altered.append(record.model_copy(update={"output_token_ids": output}))
    found = Verifier(replayer, bundled_policy).verify(altered)
    assert len(found.flagged) == ANSWERS
    assert all(not any(reason.startswith("forced") for reason in record.reasons) for record in found.flagged)
