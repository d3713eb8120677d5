"""The Responses and the Messages API through the official clients, the sidecar, a real vLLM and the verifier."""

from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.vllm.test_sidecar import exact, served, verified
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

QUESTION = "Tell me a story."


def test_both_apis_answer_as_chats_do_and_their_answers_are_verified(
    server: VllmClient, model_folder: Path, policy: Path, tmp_path: Path
) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    with served(tmp_path, model_folder, server, server.url) as sidecar:
        gpt, url = sidecar.client, str(sidecar.client.base_url).removesuffix("/v1/")
        with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=300) as claude:
            chat = gpt.chat.completions.create(model="small", messages=messages, temperature=0, max_tokens=30)
            texts = [chat.choices[0].message.content]
            given: dict[str, Any] = {"model": "small", "input": QUESTION, "max_output_tokens": 30}
            texts.append(gpt.responses.create(temperature=0, **given).output_text)
            *_, last = gpt.responses.create(temperature=0, stream=True, **given)
            assert last.type in ("response.completed", "response.incomplete")
            texts.append(last.response.output_text)
            greedy: dict[str, Any] = {"model": "small", "messages": messages, "max_tokens": 30}
            greedy["extra_body"] = {"temperature": 0}
            texts.append(claude.messages.create(**greedy).content[0].to_dict()["text"])
            with claude.messages.stream(**greedy) as stream:
                texts.append(stream.get_final_text())
            sampled = claude.messages.create(model="small", messages=messages, max_tokens=40)
            assert sampled.usage.output_tokens <= 40
            gpt.responses.create(model="small", input=QUESTION, max_output_tokens=40, temperature=0.7)
    assert len(set(texts)) == 1, texts
    records = sidecar.records()
    assert len(records) == 7
    result, report = verified(tmp_path, *exact(server, policy))
    assert result.exit_code == 0, result.output
    assert (report["verified_records"], report["flagged"]) == (7, [])
