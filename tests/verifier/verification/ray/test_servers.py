"""Exact replay on several workers: each on a vLLM server of its own, or all on one."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.verifier.replay.vllm.small_server import IDENTITY, Behaviour, small_server
from tests.verifier.replay.vllm.test_replayer import Words, altered, honest, policy_of
from tests.verifier.verification.ray.test_executor import told
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.verification.ray.executor import RayExecutor
from weightwarden.verifier.verification.run_verdict import verify
from weightwarden.verifier.verification.verifier import Verifier

pytestmark = pytest.mark.slow


class SmallUnits(VllmReplayer):
    """A replayer whose units are small, so that few records are several."""

    @property
    def unit_tokens(self) -> int:
        return 60


def load(number: int, urls: Sequence[str], folder: Path, policy: ExactPolicy) -> VllmReplayer:
    client = VllmClient(urls[number % len(urls)], timeout=20)
    identity = replace(IDENTITY, path=folder)  # where the driver finds a tokenizer
    return SmallUnits(client, identity, Words(), dtype="bfloat16", redraw=True, policy=policy, concurrency=2)


def records() -> list[Record]:
    found = [*honest("greedy"), *honest("filtered")]
    found[4] = altered(found[4], 3, (found[4].output_token_ids[3] + 1) % IDENTITY.vocabulary)
    return found


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("servers", [1, 2])
def test_workers_share_a_server_or_have_one_each_and_find_the_same(servers: int, model_folder: Path) -> None:
    policy = policy_of(honest("greedy"))
    behaviours = [Behaviour() for _ in range(servers)]
    with ExitStack() as stack:
        urls = [stack.enter_context(small_server(behaviour)) for behaviour in behaviours]
        loading = partial(load, urls=urls, folder=model_folder, policy=policy)
        alone = Verifier(loading(0), policy)
        stack.enter_context(closing(alone))
        expected = alone.verify(records())
        asked = [len(behaviour.asked) for behaviour in behaviours]
        executor = stack.enter_context(closing(RayExecutor(loading, policy, workers=2)))
        assert executor.replayer.device == ", ".join(sorted(urls))
        found = verify(executor, records())
        assert [record.place for record in found.flagged] == [4]
        assert told(found) == told(expected)
        assert all(len(one.asked) > before for one, before in zip(behaviours, asked, strict=True))
