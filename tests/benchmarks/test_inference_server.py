"""The server of the documents' first steps: honest, and it refuses what it cannot draw as vLLM would."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.attackers.serving import ServedModel
from benchmarks.inference_server import ENGINE, InferenceServer
from weightwarden.logger.record import Record
from weightwarden.logger.serving.address import Address
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

pytestmark = pytest.mark.slow

PROMPT = [1, 9690, 198, 2683, 359, 253]
NAME = "small"


@pytest.fixture(scope="module")
def url(model_folder: Path) -> Iterator[str]:
    identity = identify_model(model_folder)
    model = ServedModel.load(identity, head=identity.vocabulary)
    with InferenceServer(Address(host="127.0.0.1", port=0), model, NAME, 8192) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def asked(url: str, **more: Any) -> httpx2.Response:
    body = {"model": NAME, "prompt": PROMPT, "stream": True, "return_token_ids": True, "max_tokens": 12, **more}
    return httpx2.post(f"{url}/v1/completions", json=body, trust_env=False, timeout=120)


def answer(response: httpx2.Response) -> tuple[list[int], str | None]:
    """The token ids and the finish reason of an event stream."""
    assert response.status_code == 200, response.text
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    return [token for choice in choices for token in choice["token_ids"]], choices[-1]["finish_reason"]


SAMPLINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7, "top_p": 0.9},
    {"top_k": 50, "min_p": 0.01},
    {"temperature": 0.0},
]


def test_a_verifier_clears_its_answers(url: str, replayer: TransformersReplayer, bundled_policy: Policy) -> None:
    records = []
    for seed, sampling in enumerate(SAMPLINGS * 2, 100):
        tokens, finish = answer(asked(url, seed=seed, **sampling))
        fields = {"prompt_token_ids": PROMPT, "output_token_ids": tokens, "seed": seed, "choice_index": 0}
        given = {"sampling": {"max_tokens": 12, **sampling}, "finish_reason": finish, "stop_reason": None}
        records.append(Record.model_validate({"engine": ENGINE.model_dump(), "model": NAME, **fields, **given}))
    found = Verifier(replayer, bundled_policy).verify(records)
    assert found.records == len(records)
    assert not found.flagged


def test_a_seed_decides_the_answer(url: str) -> None:
    first, again, other = (answer(asked(url, seed=seed))[0] for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"repetition_penalty": 1.1}, 400, "repetition_penalty"),
        ({"logit_bias": {"5": 1.0}}, 400, "logit_bias"),
        ({"min_tokens": 3}, 400, "min_tokens"),
        ({"stream": False}, 400, "stream"),
        ({"prompt": "text"}, 400, "prompt"),
        ({"max_tokens": 9000}, 400, "context"),
        ({"model": "other"}, 404, "no such model"),
    ],
)
def test_what_it_cannot_draw_as_vllm_would_is_refused(url: str, more: dict[str, Any], status: int, said: str) -> None:
    response = asked(url, **more)
    assert (response.status_code, said in response.text) == (status, True), response.text


def test_it_names_its_model_and_its_context(url: str) -> None:
    cards = httpx2.get(f"{url}/v1/models", trust_env=False).json()["data"]
    assert [(card["id"], card["max_model_len"]) for card in cards] == [(NAME, 8192)]
    assert httpx2.get(f"{url}/health", trust_env=False).status_code == 200
    assert httpx2.get(f"{url}/elsewhere", trust_env=False).status_code == 404
