"""lm-evaluation-harness through the sidecar: the score is the model's own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.harness import DirectModel, harness_scores
from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import response, scripted_upstream
from weightwarden.logger.record import Logprobs

pytestmark = pytest.mark.clients


def test_a_task_by_log_likelihoods_has_the_models_own_score(python: Path, model_folder: Path, tmp_path: Path) -> None:
    model = DirectModel(model_folder)
    direct = model.scores()

    async def trusted(body: dict[str, Any]) -> AsyncIterator[bytes]:
        content = json.dumps({"choices": [{"prompt_logprobs": model.prompt_logprobs(body)}]}).encode()
        yield response("200 OK", content, content_type="application/json", content_length=str(len(content)))

    with scripted_upstream() as upstream, scripted_upstream(trusted) as truth:
        settings = settings_in(tmp_path, model_folder, upstream.url, logprobs_url=truth.url)
        with running(settings) as sidecar:
            found = harness_scores(python, sidecar.url, model_folder, tmp_path)
            records = sidecar.records()
    print(f"score {found.accuracy} through the sidecar, {direct.accuracy} directly, {len(found.values)} items")
    assert (found.accuracy, found.per_character) == (direct.accuracy, direct.per_character)
    for through, own in zip(found.values, direct.values, strict=True):
        assert [value for value, _ in through] == pytest.approx([value for value, _ in own], abs=1e-3)
        assert [greedy for _, greedy in through] == [greedy for _, greedy in own]
    requests = sum(map(len, direct.values))
    assert len(records) == len(truth.asked) == requests
    assert {record.logprobs for record in records} == {Logprobs(top=1, prompt=True)}
    tokens = sum(len(asked["prompt"]) for asked in truth.asked)
    print(f"{tokens} tokens of prefill for {requests} requests, {tokens / requests:.1f} each")
