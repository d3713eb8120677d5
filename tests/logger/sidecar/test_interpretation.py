"""What a request's prompts cost before they are refused: counted, and on which thread."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.logger.sidecar.running import running, settings_in
from weightwarden.logger.serving.connection_limits import BODY_BYTES
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.interpretation import INLINE_CHARACTERS, RequestInterpreter
from weightwarden.logger.sidecar.limits import BODY_BYTES_A_TOKEN, Limits
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.prepare_pool import PreparePool
from weightwarden.logger.sidecar.wire.requests import CompletionRequest


class Counting:
    """A tokenizer that says whom it works for."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.texts: list[int] = []
        self.threads: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str, **named: Any) -> Any:
        self.texts.append(len(text))
        self.threads.add(threading.current_thread().name)
        return self._tokenizer.encode(text, **named)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ServedModel:
    return ServedModel.load(model_folder, name="small", neutral_defaults=True)


def understood(model: ServedModel, prompts: list[str], **limits: Any) -> tuple[Counting, str | None]:
    """How it was tokenized, and why it was refused."""
    counting = Counting(model.tokenizer)
    workers = PreparePool()
    of = RequestInterpreter(
        model=replace(model, tokenizer=counting),  # type: ignore[arg-type]
        limits=Limits(**limits),
        client_seeds=False,
        workers=workers,
    )
    request = CompletionRequest(model="small", prompt=prompts, max_tokens=1)
    try:
        asyncio.run(of.of_completion(request))
    except ApiError as error:
        return counting, error.message
    finally:
        workers.close()
    return counting, None


def test_the_first_prompt_that_is_too_long_is_the_last_that_is_tokenized(model: ServedModel) -> None:
    counting, why = understood(model, ["a b " * 20_000] * 15)
    assert "more than 8191" in str(why)
    assert len(counting.texts) == 1


def test_one_that_is_too_long_by_its_characters_is_refused_before_any_is_tokenized(model: ServedModel) -> None:
    counting, why = understood(model, ["short", "x" * (8192 * model.longest_token)])
    assert "longer than 8191 tokens can be" in str(why)
    assert counting.texts == []


def test_too_many_prompts_are_refused_before_any_is_tokenized(model: ServedModel) -> None:
    counting, why = understood(model, ["short"] * 17)
    assert "more than 16" in str(why)
    assert counting.texts == []


def test_many_short_prompts_hold_the_event_loop_no_longer_than_one(model: ServedModel) -> None:
    few, _ = understood(model, ["short"] * 15)
    assert few.threads == {threading.current_thread().name}
    many, why = understood(model, ["a " * (INLINE_CHARACTERS // 4)] * 15)
    assert why is None
    assert all(name.startswith("prepare") for name in many.threads)


def test_a_body_has_the_size_that_the_context_allows(tmp_path: Path, model_folder: Path) -> None:
    most = BODY_BYTES + BODY_BYTES_A_TOKEN * 8192
    with running(settings_in(tmp_path, model_folder, "http://127.0.0.1:9")) as sidecar:
        body = b'{"model": "small", "prompt": [0.5], "user": "%s"}'
        fits = body % (b"x" * (most - len(body)))
        for content, status in ((fits, 400), (fits + b" " * 100, 413)):
            assert sidecar.client.post("/v1/completions", content=content).status_code == status
    assert Limits(body=5).for_context(8192).body_bytes == 5
