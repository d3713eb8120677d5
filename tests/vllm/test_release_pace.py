"""A real vLLM whose answers leave at a pace: the same answers, verified, and their moments charged."""

from pathlib import Path
from typing import Any

import pytest

from tests.vllm.test_sidecar import exact, served, verified
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm


def test_answers_at_a_pace_are_verified_and_their_timing_is_charged(
    server: VllmClient, model_folder: Path, policy: Path, tmp_path: Path
) -> None:
    messages: Any = [{"role": "user", "content": "Tell me a story."}]
    given: dict[str, Any] = {"model": "small", "messages": messages, "temperature": 0, "max_tokens": 24}
    with served(tmp_path, model_folder, server, server.url, **{"release-pace": "4/200"}) as sidecar:
        whole = sidecar.client.chat.completions.create(**given).choices[0].message.content
        pieces = [
            event.choices[0].delta.content or ""
            for event in sidecar.client.chat.completions.create(stream=True, **given)
            if event.choices
        ]
    assert "".join(pieces) == whole
    records = sidecar.records()
    assert [record.release is not None and record.release.start_slot is not None for record in records] == [True] * 2
    assert [record.release is not None and record.release.streamed for record in records] == [False, True]
    result, report = verified(tmp_path, *exact(server, policy))
    assert result.exit_code == 0, result.output
    assert (report["timing"]["state"], report["timing"]["records"]) == ("paced", 2)
    assert 0 < report["timing"]["bits"] < 200
