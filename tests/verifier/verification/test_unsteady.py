"""Positions whose logits hang on rounding errors: charged, and no evidence against a server."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.guarantees.any_server import AnyServer
from tests.recorded import FILTERED, records_of
from tests.verifier.candidates.drawn_masks import packed
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.run_verdict import Verification
from weightwarden.verifier.verification.verifier import Verifier

PROMPT = [21805, 40539]
"""Two odd tokens, and nothing else allowed: with half precision the embedded model's logits differ by tens there."""


def asked(seed: int, **sampling: object) -> Record:
    """The request, as a record whose answer is still to come."""
    chosen = {"temperature": 0.52, "min_p": 0.75, "max_tokens": 8, "allowed_token_ids": PROMPT, **sampling}
    base = records_of(FILTERED)[0].model_dump()
    return Record.model_validate(
        base
        | {
            "prompt_token_ids": PROMPT,
            "output_token_ids": [PROMPT[0]],
            "seed": seed,
            "sampling": chosen,
            "finish_reason": "length",
            "stop_reason": None,
        }
    )


@pytest.fixture(scope="module")
def honest(replayer: TransformersReplayer) -> list[Record]:
    identity: ModelIdentity = replayer.identity
    return AnyServer.load(identity).answers([asked(seed) for seed in range(24)])


def verified(replayer: TransformersReplayer, policy: Policy, records: Sequence[Record]) -> Verification:
    return Verifier(replayer, policy).verify(records)


def test_a_client_cannot_have_an_honest_server_flagged(
    replayer: TransformersReplayer, bundled_policy: Policy, honest: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verified(replayer, bundled_policy, honest)
    assert found.flagged == []
    assert not found.alarm
    assert found.unsteady_positions > 0

    monkeypatch.setattr(type(bundled_policy), "steady_sway", None)
    taken_at_their_word = verified(replayer, bundled_policy, honest)
    assert len(taken_at_their_word.flagged) > len(honest) / 4  # what this is for
    assert found.charged_bits_per_token == taken_at_their_word.charged_bits_per_token
    assert np.array_equal(found.charges.pooled_bits_r, taken_at_their_word.charges.pooled_bits_r)


def test_ordinary_positions_are_steady(replayer: TransformersReplayer, bundled_policy: Policy) -> None:
    limit = bundled_policy.steady_sway
    sways = np.concatenate(replayer.sway(records_of(FILTERED)[:6]))
    assert len(sways) > 400
    assert (sways > limit).mean() < 0.005  # of a thief's tokens no more are excused
    assert np.median(sways) < limit / 2


def test_a_thief_is_flagged_where_positions_are_steady(replayer: TransformersReplayer, bundled_policy: Policy) -> None:
    rng = np.random.default_rng(5)
    records = []
    for record in records_of(FILTERED)[:6]:
        output = list(record.output_token_ids)
        for at in rng.choice(len(output) - 1, 3, replace=False):
            output[at] = int(rng.integers(1000, replayer.identity.vocabulary))
        records.append(record.model_copy(update={"output_token_ids": output}))
    found = verified(replayer, bundled_policy, records)
    assert len(found.flagged) == len(records)


def test_the_same_errors_every_time(replayer: TransformersReplayer) -> None:
    record = asked(1).model_copy(update={"output_token_ids": [40539] * 5})
    [first], [again] = replayer.sway([record]), replayer.sway([record])
    assert np.array_equal(first, again)
    assert first.max() > 1
    *_, beside = replayer.sway([*records_of(FILTERED)[:3], record])
    assert np.allclose(beside, first, rtol=0.05)


def test_a_shared_prefix_changes_no_error(replayer: TransformersReplayer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = records_of(FILTERED)[0]
    records = [first, first.model_copy(update={"seed": 1 if first.seed is None else first.seed + 1})]
    assert replayer.shares_prefixes
    shared = replayer.sway(records)
    monkeypatch.setattr(replayer, "shares_prefixes", False)
    for with_it, without in zip(shared, replayer.sway(records), strict=True):
        assert np.allclose(with_it, without, atol=0.02)


def test_the_tokens_that_a_grammar_excludes_do_not_sway_a_position(
    replayer: TransformersReplayer, honest: list[Record]
) -> None:
    record = honest[0].model_copy(
        update={"sampling": honest[0].sampling.model_copy(update={"allowed_token_ids": None})}
    )
    count, vocabulary = len(record.output_token_ids), replayer.identity.vocabulary
    everything = np.ones((count, vocabulary), np.bool_)
    alone = np.zeros((count, vocabulary), np.bool_)
    alone[np.arange(count), record.output_token_ids] = True
    two = alone.copy()
    two[:, PROMPT] = True
    [free] = replayer.sway([record])
    [same] = replayer.sway([record], [packed(everything)])
    [forced] = replayer.sway([record], [packed(alone)])
    [of_two] = replayer.sway([record], [packed(two)])
    [named] = replayer.sway([honest[0]])
    assert np.array_equal(same, free)
    assert (forced == 0).all()
    assert np.array_equal(of_two, named)
    assert free.max() > 1
