"""The test of a server's repeatability: it finds what depends on the batch, drawn or scored, and nothing else."""

import pytest

from tests.verifier.replay.vllm.small_server import Behaviour, small_server
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.repeatability import ANSWERS, NotRepeatable, repeatability, require_repeatable


def test_a_server_that_computes_the_same_in_every_batch_passes() -> None:
    behaviour = Behaviour()
    with small_server(behaviour) as url, VllmClient(url, timeout=20) as client:
        found = require_repeatable(client)
    assert found.passed
    assert (found.answers, found.differing, found.drawn_apart, found.scored_apart) == (ANSWERS, 0, 0.0, 0.0)
    salts = [asked["cache_salt"] for asked in behaviour.asked if "return_token_ids" in asked]
    assert len(set(salts)) == len(salts) == 2 * ANSWERS


def test_a_server_whose_logits_depend_on_the_batch_is_refused_though_its_tokens_are_the_same() -> None:
    with small_server(Behaviour(batch_noise=0.125)) as url, VllmClient(url, timeout=20) as client:
        with pytest.raises(NotRepeatable, match=r"depends on the other requests.*--policy prints dtype"):
            require_repeatable(client)
        found = repeatability(client)
    assert found.drawn_apart == found.scored_apart == 0.125
    assert found.differing == 0


def test_a_server_whose_tokens_depend_on_the_batch_is_refused() -> None:
    with small_server(Behaviour(batch_tokens=True)) as url, VllmClient(url, timeout=20) as client:
        found = repeatability(client)
    assert found.differing > 0
    assert not found.passed


def test_differences_within_the_exact_tolerance_are_no_matter() -> None:
    with (
        small_server(Behaviour(batch_noise=EXACT_TOLERANCE.margin / 4)) as url,
        VllmClient(url, timeout=20) as client,
    ):
        found = require_repeatable(client)
    assert 0 < found.drawn_apart <= EXACT_TOLERANCE.margin
    assert "logits up to" in str(found)


def test_an_answer_without_logits_is_an_error() -> None:
    def without(content: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
        for choice in content["choices"]:
            choice.pop("logprobs", None)
        return content

    with (
        small_server(Behaviour(change=without)) as url,
        VllmClient(url, timeout=20) as client,
        pytest.raises(ReplayServerError, match="not the logits of all"),
    ):
        repeatability(client)
