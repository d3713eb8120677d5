"""Log probabilities and echo: from the trusted server alone, in OpenAI's forms."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.free_port import free_port
from benchmarks.random_adapter import write_random_adapter
from tests.logger.sidecar.running import MODEL, Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import FIRST, Answer, Upstream, drawn, honest, scripted_upstream, sends
from tests.logger.sidecar.trusted_server import distribution, gives, raw_logits, trusted
from weightwarden.logger.record import Logprobs
from weightwarden.logger.release import Pace
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer

PROMPT = [100, 2000, 300]


@pytest.fixture(scope="module")
def truth() -> Iterator[Upstream]:
    with scripted_upstream(trusted) as server:
        yield server


@pytest.fixture
def telling(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream, truth: Upstream
) -> Iterator[Sidecar]:
    """A sidecar with a trusted server, whose key and model name differ from the inference server's."""
    shared_upstream.answer, truth.answer = honest, trusted
    shared_upstream.asked.clear()
    truth.asked.clear()
    truth.headers.clear()
    folder = tmp_path_factory.mktemp("telling")
    (folder / "key").write_text("a-key-of-the-trusted-server\n")
    (folder / "key").chmod(0o600)
    more = {"logprobs_url": truth.url, "logprobs_model": "trusted-model", "logprobs_key": folder / "key"}
    with running(settings_in(folder, model_folder, shared_upstream.url, **more)) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def texts(model_folder: Path) -> ModelTokenizer:
    return ModelTokenizer.of(read_tokenizer(model_folder), 49_152)


def test_a_completion_has_the_trusted_servers_values_in_openais_form(
    telling: Sidecar, shared_upstream: Upstream, truth: Upstream, texts: ModelTokenizer
) -> None:
    [choice] = telling.complete(PROMPT, max_tokens=5, logprobs=3).json()["choices"]
    ids = drawn(shared_upstream.asked[0])
    found = choice["logprobs"]
    assert found.keys() == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert found["tokens"] == [texts.token_text(one) for one in ids]
    transcript = [*PROMPT, *ids]
    for at, token in enumerate(ids):
        known = distribution(transcript, len(PROMPT) + at)
        assert found["token_logprobs"][at] == known[token]
        wanted = {texts.token_text(one): known[one] for one in [token, *list(known)[:3]]}
        assert found["top_logprobs"][at] == wanted
        assert next(iter(found["top_logprobs"][at])) == texts.token_text(token)
        offset = found["text_offset"][at]
        assert choice["text"][:offset] == texts.decode(ids[:at], skip_special_tokens=True, prompt=PROMPT)
    [asked] = truth.asked
    assert asked == {
        "model": "trusted-model",
        "prompt": transcript,
        "max_tokens": 1,
        "temperature": 0,
        "add_special_tokens": False,
        "prompt_logprobs": 3,
    }
    assert truth.headers[0]["authorization"] == "bearer a-key-of-the-trusted-server"
    [record] = telling.records()
    assert record.logprobs == Logprobs(top=3)


def test_the_inference_server_is_not_asked_for_log_probabilities(telling: Sidecar, shared_upstream: Upstream) -> None:
    telling.complete(PROMPT, max_tokens=2, logprobs=3, echo=True)
    telling.complete(PROMPT, max_tokens=2)
    telling.chat(max_tokens=2, logprobs=True, top_logprobs=4)
    telling.chat(max_tokens=2)
    with_values, plain, chat_with_values, plain_chat = (dict(one) for one in shared_upstream.asked)
    for one in shared_upstream.asked:
        assert not {name for name in one if "logprob" in name}
        assert one["echo"] is False
        del one["seed"]
    assert with_values.keys() == plain.keys()
    assert shared_upstream.asked[0] == shared_upstream.asked[1]
    assert shared_upstream.asked[2] == shared_upstream.asked[3]
    assert chat_with_values.keys() == plain_chat.keys()


def test_a_chat_has_the_most_likely_tokens_with_their_bytes(
    telling: Sidecar, shared_upstream: Upstream, texts: ModelTokenizer
) -> None:
    [choice] = telling.chat(max_tokens=4, logprobs=True, top_logprobs=2).json()["choices"]
    asked = shared_upstream.asked[0]
    ids = drawn(asked)
    content = choice["logprobs"]["content"]
    assert len(content) == len(ids) == 4
    for at, (token, one) in enumerate(zip(ids, content, strict=True)):
        known = distribution([*asked["prompt"], *ids], len(asked["prompt"]) + at)
        assert one["token"] == texts.token_text(token)
        assert bytes(one["bytes"]) == texts.table.of_id[token]
        assert one["logprob"] == known[token]
        assert [(top["token"], top["logprob"]) for top in one["top_logprobs"]] == [
            (texts.token_text(top), known[top]) for top in list(known)[:2]
        ]
    [record] = telling.records()
    assert record.logprobs == Logprobs(top=2)
    assert (
        telling.chat(max_tokens=1, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    )


def test_echo_puts_the_prompt_before_the_answer_with_its_log_probabilities(
    telling: Sidecar, shared_upstream: Upstream, texts: ModelTokenizer
) -> None:
    got = telling.complete([PROMPT, PROMPT[::-1]], max_tokens=1, logprobs=1, temperature=0, echo=True, seed=1234).json()
    for choice, asked in zip(got["choices"], shared_upstream.asked, strict=True):
        transcript = [*asked["prompt"], *drawn(asked)]
        found = choice["logprobs"]
        assert found["tokens"] == [texts.token_text(one) for one in transcript]
        assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
        known = [distribution(transcript, at) for at in range(1, 4)]
        assert found["token_logprobs"][1:] == [one[token] for one, token in zip(known, transcript[1:], strict=True)]
        assert [max(one.values()) for one in found["top_logprobs"][1:]] == [max(one.values()) for one in known]
        assert choice["text"] == texts.decode(transcript, skip_special_tokens=True)
        assert found["text_offset"][-1] == len(texts.decode(transcript[:-1], skip_special_tokens=True))
    assert got["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert {record.logprobs for record in telling.records()} == {Logprobs(top=1, prompt=True)}


def test_every_choice_has_its_own(telling: Sidecar, shared_upstream: Upstream, truth: Upstream) -> None:
    choices = telling.complete(PROMPT, max_tokens=3, logprobs=0, n=3).json()["choices"]
    answers = {tuple(asked["prompt"][3:]) for asked in truth.asked}
    assert answers == {tuple(drawn(asked)) for asked in shared_upstream.asked}
    assert len(answers) == 3
    values = [choice["logprobs"]["token_logprobs"] for choice in choices]
    assert len({tuple(one) for one in values}) == 3
    assert all(list(top.values()) == [one] for choice in choices for top, one in _pairs(choice["logprobs"]))


def _pairs(found: dict[str, Any]) -> Iterator[tuple[dict[str, float], float]]:
    return zip(found["top_logprobs"], found["token_logprobs"], strict=True)


def test_a_prompt_alone_is_scored_without_the_inference_server(
    telling: Sidecar, shared_upstream: Upstream, truth: Upstream, texts: ModelTokenizer
) -> None:
    got = telling.complete(PROMPT, max_tokens=0, logprobs=2, echo=True, n=2).json()
    assert shared_upstream.asked == []
    assert telling.records() == []
    assert [asked["prompt"] for asked in truth.asked] == [PROMPT, PROMPT]
    for index, choice in enumerate(got["choices"]):
        assert choice["index"] == index
        assert choice["finish_reason"] == "length"
        assert choice["text"] == texts.decode(PROMPT, skip_special_tokens=True)
        assert choice["logprobs"]["token_logprobs"] == [None, *(distribution(PROMPT, at)[PROMPT[at]] for at in (1, 2))]
    assert got["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_echo_alone_needs_no_trusted_server(sidecar: Sidecar, upstream: Upstream, texts: ModelTokenizer) -> None:
    [choice] = sidecar.complete("Once upon", max_tokens=2, echo=True).json()["choices"]
    [asked] = upstream.asked
    assert choice["text"] == "Once upon" + texts.decode(drawn(asked), skip_special_tokens=True, prompt=asked["prompt"])
    assert choice["logprobs"] is None
    assert sidecar.complete("Once upon", max_tokens=0, echo=True).json()["choices"][0]["text"] == "Once upon"
    [record] = sidecar.records()
    assert record.logprobs is None


_ANOTHER = json.dumps({"choices": [{"prompt_logprobs": [None] + 7 * [{"5": {"logprob": -1}}]}]}).encode()
FAILURES: dict[str, tuple[Answer, str]] = {
    "status": (gives(b"{}", "500 Internal Server Error"), "busy"),
    "refusal": (gives(b'{"error": {"message": "TRUSTED TEXT"}}', "400 Bad Request"), "refused"),
    "closed": (sends(b""), "unreachable"),
    "no JSON": (gives(b"TRUSTED TEXT"), "malformed"),
    "no values": (gives(b'{"choices": [{"index": 0}]}'), "malformed"),
    "too few positions": (gives(b'{"choices": [{"prompt_logprobs": [null]}]}'), "malformed"),
    "another token": (gives(_ANOTHER), "malformed"),
    "logits": (raw_logits, "no log probabilities"),
    "too long": (gives(b" " * 300_000), "malformed"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("paced", [False, True], ids=["at once", "at a pace"])
def test_when_the_trusted_server_fails_the_record_stands_and_a_retry_has_its_seed(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, truth: Upstream, case: str, paced: bool
) -> None:
    truth.answer, cause = FAILURES[case]
    shared_upstream.answer = honest
    more: dict[str, Any] = {"release_pace": Pace.parse("8/20")} if paced else {}
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, logprobs_url=truth.url, **more)
    with running(settings) as sidecar:
        failed = sidecar.complete(PROMPT, max_tokens=5, logprobs=1)
        assert failed.status_code == 503, failed.text
        assert failed.headers["retry-after"] == "5"
        error = failed.json()["error"]
        assert error["type"] == "logprobs_unavailable"
        assert "TRUSTED" not in failed.text
        [first] = sidecar.await_records(1)
        assert len(first.output_token_ids) == 5
        assert first.finish_reason == "length"
        if paced:
            assert first.release is not None
            assert first.release.start_slot is not None
        truth.answer = trusted
        assert sidecar.complete(PROMPT, max_tokens=5).status_code == 200
        _, second = sidecar.await_records(2)
        assert (first.seed, first.output_token_ids) == (second.seed, second.output_token_ids)
        assert second.logprobs is None
        assert sidecar.events("request")[0]["reason"] == f"logprobs: {cause}"


@pytest.mark.parametrize("stream", [False, True])
def test_at_a_pace_the_whole_answer_leaves_with_its_log_probabilities(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, truth: Upstream, stream: bool
) -> None:
    shared_upstream.answer, truth.answer = honest, trusted
    settings = settings_in(
        tmp_path, model_folder, shared_upstream.url, logprobs_url=truth.url, release_pace=Pace.parse("2/20")
    )
    with running(settings) as sidecar:
        got = sidecar.complete(PROMPT, max_tokens=5, logprobs=1, n=2, stream=stream)
        if stream:
            assert got.json()["error"]["param"] == "stream"
            return
        assert [len(choice["logprobs"]["tokens"]) for choice in got.json()["choices"]] == [5, 5]
        for record in sidecar.await_records(2):
            assert record.logprobs == Logprobs(top=1)
            assert record.release is not None
            assert record.release.start_slot is not None
        assert sidecar.complete(PROMPT, max_tokens=0, logprobs=1, echo=True).status_code == 200


def test_log_probabilities_do_not_change_the_seed_of_a_request(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, truth: Upstream
) -> None:
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, logprobs_url=truth.url)
    with running(settings) as sidecar:
        shared_upstream.answer, truth.answer = sends(FIRST), trusted
        assert sidecar.complete(PROMPT, max_tokens=5).status_code == 502
        shared_upstream.answer = honest
        assert sidecar.complete(PROMPT, max_tokens=5, logprobs=2, echo=True).status_code == 200
        first, second = sidecar.await_records(2)
        assert first.seed == second.seed


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "completion"])
@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"stream": True}, "stream", "whole answers only"),
        ({"max_tokens": 8_192}, "max_tokens", "less one, which is left for logprobs"),
    ],
)
def test_what_cannot_be_given_is_refused(telling: Sidecar, chat: bool, asked: Any, field: str, words: str) -> None:
    wanted: dict[str, Any] = {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}
    refused = (telling.chat if chat else telling.complete)(**wanted, **asked)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field
    assert words in refused.json()["error"]["message"]
    assert telling.records() == []


@pytest.mark.parametrize(
    ("chat", "asked", "field"),
    [
        (True, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (True, {"top_logprobs": 2}, "top_logprobs"),
        (True, {"logprobs": 2}, "logprobs"),
        (False, {"logprobs": 21}, "logprobs"),
        (False, {"logprobs": True}, "logprobs"),
        (False, {"max_tokens": 0, "logprobs": 1}, "max_tokens"),
        (False, {"echo": True, "stream": True}, "stream"),
    ],
)
def test_malformed_wishes_are_refused_by_field(telling: Sidecar, chat: bool, asked: Any, field: str) -> None:
    refused = (telling.chat if chat else telling.complete)(**asked)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field


def test_a_chat_without_a_length_leaves_the_token_that_the_trusted_server_needs(
    telling: Sidecar, shared_upstream: Upstream
) -> None:
    assert telling.chat("a " * 8_150, logprobs=True).status_code == 200
    [asked] = shared_upstream.asked
    assert len(asked["prompt"]) + asked["max_tokens"] == 8_191


def test_an_adapters_values_are_asked_for_by_its_name(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, truth: Upstream
) -> None:
    shared_upstream.answer, truth.answer = honest, trusted
    truth.asked.clear()
    adapter = write_random_adapter(tmp_path / "law", model_folder, seed=1, rank=1, modules=("q_proj",))
    settings = settings_in(
        tmp_path, model_folder, shared_upstream.url, logprobs_url=truth.url, adapters=(("law", adapter),)
    )
    with running(settings) as sidecar:
        assert sidecar.complete(PROMPT, model="law", max_tokens=2, logprobs=1).status_code == 200
        assert sidecar.complete(PROMPT, model="law", max_tokens=0, logprobs=1, echo=True).status_code == 200
    assert [asked["model"] for asked in truth.asked] == ["law", "law"]


@pytest.mark.parametrize("more", [{"logprobs_model": "m"}, {"logprobs_key": Path("k")}, {"logprobs_url": "ftp://a"}])
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, model_folder: Path, more: Any) -> None:
    with (
        pytest.raises(SettingsError, match="logprobs-"),
        running(settings_in(tmp_path, model_folder, "http://a", **more)),
    ):
        raise AssertionError("it runs")


def test_an_inference_server_that_would_give_its_own_is_warned_of(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream
) -> None:
    settings = settings_in(tmp_path, model_folder, shared_upstream.url, logprobs_url=f"{shared_upstream.url}/")
    with running(settings) as sidecar:
        assert "--logprobs-url is an inference server" in sidecar.await_event("warning")["why"]


def test_metrics_count_what_the_trusted_server_reads(
    tmp_path: Path, model_folder: Path, shared_upstream: Upstream, truth: Upstream
) -> None:
    shared_upstream.answer, truth.answer = honest, trusted
    metrics = Address(host="127.0.0.1", port=free_port())
    settings = settings_in(
        tmp_path, model_folder, shared_upstream.url, logprobs_url=truth.url, metrics=metrics, model_name=MODEL
    )
    with running(settings) as sidecar:
        sidecar.complete(PROMPT, max_tokens=5, logprobs=1, n=2)
        truth.answer = gives(b"")
        sidecar.complete(PROMPT, max_tokens=5, logprobs=1)
        text = httpx2.get(f"http://{metrics}/metrics", trust_env=False).text
    assert "weightwarden_sidecar_logprobs_prefill_tokens_total 16.0" in text
    assert 'weightwarden_sidecar_logprobs_requests_total{outcome="answered"} 2.0' in text
    assert 'weightwarden_sidecar_logprobs_requests_total{outcome="malformed"} 1.0' in text
