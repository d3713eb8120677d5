"""Requests at random over all that the sidecar accepts: an honest server is flagged no more often than it may be."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.guarantees.any_server import AnyServer
from benchmarks.guarantees.request_generator import random_request, request_record
from tests.recorded import FILTERED, records_of
from weightwarden.logger.record import Record
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.verification.verifier import Verifier

pytestmark = pytest.mark.slow

REQUESTS = 24
MAX_LENGTH = 8
FALSE_ALARM = 1e-3
"""Probability that an honest server is said to be flagged too often."""


@pytest.fixture(scope="module")
def server(model_folder: Path) -> AnyServer:
    return AnyServer.load(identify_model(model_folder))


def test_honest_answers_to_random_requests_pass(
    server: AnyServer, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    identity = replayer.identity
    rng = np.random.default_rng(12)
    prompts = [record.prompt_token_ids for record in records_of(FILTERED)[:20]]
    requests: list[Record] = []
    while len(requests) < REQUESTS:
        body = random_request(rng, prompts, identity.vocabulary)
        body["max_tokens"] = min(body["max_tokens"], MAX_LENGTH)
        made = request_record(body, len(requests), "0.32.0", identity)
        if made is not None:
            requests.append(made)
    found = Verifier(replayer, bundled_policy).verify(server.answers(requests))
    assert found.records == REQUESTS
    assert not found.unverifiable
    assert not found.alarm
    rate = bundled_policy.forced_end_limits.rate + FLAG_LEVEL
    assert binom.sf(len(found.flagged) - 1, REQUESTS, rate) > FALSE_ALARM
