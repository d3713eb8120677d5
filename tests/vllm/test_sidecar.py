"""The whole way: the official client, the sidecar, a real vLLM (honest, and tampered with), the log, the verifier."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner, Result
from tokenizers import Tokenizer

from tests.logger.sidecar.process import config_file, started
from tests.places import BUNDLED_POLICY
from tests.vllm.commands import CONTEXT
from tests.vllm.tampering_proxy import (
    Tamper,
    adds_fields,
    breaks_off,
    changes_the_text,
    claims_an_early_end,
    swaps_a_token,
    tampering_proxy,
    unchanged,
)
from weightwarden.cli.main import verify
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.scoring.levels import RUN_ALARM_LEVEL
from weightwarden.verifier.scoring.run_evidence import TESTS

pytestmark = pytest.mark.vllm

FILTERS = {"top_k": 50}
PROMPTS = ("What is the capital of France?", "Write a haiku about rain.", "How do magnets work?", "Tell me a story.")


@dataclass
class Served:
    """A sidecar in front of an upstream server, and what is left of it when it has stopped."""

    client: openai.OpenAI
    folder: Path
    log: str

    def records(self) -> list[Record]:
        reader = LogReader(self.log)
        return [decode_record(entry) for entry in reader.entries(0, reader.size())]


@contextmanager
def served(folder: Path, model_folder: Path, server: VllmClient, upstream: str, **options: Any) -> Iterator[Served]:
    """A sidecar with these options that is stopped at the end, when it seals what it logged."""
    (folder / "archives").mkdir()
    config = config_file(
        folder,
        model_folder,
        upstream,
        **{"upstream-model": server.served_model()[0], "max-model-len": CONTEXT, "archives": str(folder / "archives")},
        **options,
    )
    key = SigningKey.read(folder / "log.key")
    (folder / "log.key.pub").write_text(f"{key.verifier}\n")
    process = started(config)
    try:
        with openai.OpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=0, timeout=300) as client:
            yield Served(client, folder, process.log)
    finally:
        assert process.stop(signal.SIGTERM) == 0, process.said.read_text()


def verified(folder: Path, *options: Any) -> tuple[Result, dict[str, Any]]:
    """What `verify log check` and `verify run` say of the sealed archives."""
    signed = [str(folder / "archives"), "--public-key", str(folder / "log.key.pub")]
    checked = CliRunner().invoke(verify, ["log", "check", *signed])
    assert checked.exit_code == 0, checked.output
    report = folder / "report.json"
    result = CliRunner().invoke(
        verify, ["run", *signed, "--max-model-len", str(CONTEXT), "--json", str(report), *map(str, options)]
    )
    return result, json.loads(report.read_text())


def exact(server: VllmClient, policy: Path) -> tuple[Any, ...]:
    return ("--replayer", "vllm", "--replay-url", server.url, "--policy", policy)


def text_of(tokenizer: Tokenizer, record: Record) -> str:
    text: str = tokenizer.decode(record.output_token_ids, skip_special_tokens=True)
    return text


def test_the_official_client_through_the_sidecar_to_vllm_and_the_verifier(
    server: VllmClient, model_folder: Path, policy: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    with served(tmp_path, model_folder, server, server.url) as sidecar:
        client = sidecar.client
        assert [model.id for model in client.models.list()] == ["small"]
        texts: list[str] = []
        for at, question in enumerate(PROMPTS):
            messages: Any = [{"role": "user", "content": question}]
            more: Any = {"temperature": (0.0, 0.7, 1.0, 1.0)[at], "top_p": 0.95, "max_tokens": 40}
            whole = client.chat.completions.create(model="small", messages=messages, extra_body=FILTERS, **more)
            assert whole.usage is not None
            assert whole.usage.completion_tokens <= 40
            texts.append(whole.choices[0].message.content or "")
            stream = client.chat.completions.create(
                model="small",
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=FILTERS,
                **more,
            )
            chunks = list(stream)
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens == sum(
                bool(c.choices and c.choices[0].delta.role is None and c.choices[0].finish_reason is None)
                for c in chunks
            )
            texts.append("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
        three = client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "Name a colour."}], n=3, max_tokens=20
        )
        texts += [choice.message.content or "" for choice in three.choices]
        several = client.completions.create(model="small", prompt=["Once", "Twice"], n=2, max_tokens=20)
        texts += [choice.text for choice in several.choices]
        parts = ["", "", ""]
        for chunk in client.completions.create(model="small", prompt="In 1492", n=3, max_tokens=20, stream=True):
            parts[chunk.choices[0].index] += chunk.choices[0].text
        texts += parts
        stopped = client.completions.create(model="small", prompt="1, 2, 3,", stop=[" 7", "\n"], max_tokens=60)
        assert " 7" not in stopped.choices[0].text
        with pytest.raises(openai.BadRequestError, match=r"logprobs is not served here: .*--logprobs-url"):
            client.completions.create(model="small", prompt="a", logprobs=1)
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="gpt-4", prompt="a")
    records = sidecar.records()
    assert len(records) == 8 + 3 + 4 + 3 + 1
    said = [text_of(tokenizer, record) for record in records]
    assert sorted(said[:-1]) == sorted(texts)
    assert said[-1].startswith(stopped.choices[0].text)
    result, report = verified(tmp_path, "--policy", BUNDLED_POLICY)
    assert result.exit_code == 0, result.output
    assert report["verified_records"] == len(records)
    mismatch_rate = report["statistics"]["rates"]["mismatch"]["value"]
    print(f"independent replay: {report['verified_tokens']} tokens, mismatch rate {mismatch_rate:.4f}")
    # The policy's limit is of no use: it holds for traffic like its calibration, and these prompts and filters are not.
    assert mismatch_rate < 0.1  # answers drawn with another seed differ at 60% of the tokens
    result, report = verified(tmp_path, *exact(server, policy))
    assert result.exit_code == 0, result.output
    assert report["flagged"] == []
    print(f"exact replay: mismatch rate {report['statistics']['rates']['mismatch']['value']:.4f}")


def streamed_until_it_breaks(client: openai.OpenAI, asked: dict[str, Any]) -> str:
    """The text that came before the error that ends it."""
    text = ""
    with pytest.raises(openai.APIError, match="the inference server failed"):  # noqa: PT012  (a stream is iterated)
        for chunk in client.chat.completions.create(model="small", stream=True, **asked):
            text += chunk.choices[0].delta.content or ""
    return text


TAMPERED: dict[str, tuple[Tamper, int | None, str]] = {
    "swaps a token, the text left as it was": (swaps_a_token, None, "caught"),
    "changes the text, the ids left as they were": (changes_the_text, None, "neutralised"),
    "drops the end and says that it is one": (claims_an_early_end, None, "caught"),
    "drops the end without a word": (breaks_off, None, "caught"),
    "adds headers and fields": (adds_fields, None, "neutralised"),
    "draws with another seed": (unchanged, 12345, "caught"),
    "does nothing": (unchanged, None, "neutralised"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_tampering_server_is_caught_or_neutralised(
    server: VllmClient, model_folder: Path, policy: Path, tmp_path: Path, case: str
) -> None:
    tamper, seed, outcome = TAMPERED[case]
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    texts: list[str] = []
    seen = ""
    with (
        tampering_proxy(server.url, tamper, seed=seed) as proxy,
        served(tmp_path, model_folder, server, proxy) as sidecar,
    ):
        for question in PROMPTS:
            asked: Any = {"messages": [{"role": "user", "content": question}], "max_tokens": 24, "extra_body": FILTERS}
            if tamper is breaks_off:
                texts.append(streamed_until_it_breaks(sidecar.client, asked))
                continue
            answer = sidecar.client.chat.completions.with_raw_response.create(model="small", **asked)
            texts.append(answer.parse().choices[0].message.content or "")
            seen += str(dict(answer.headers)) + answer.text
    records = sidecar.records()
    assert len(records) == len(PROMPTS)
    assert "LEAK" not in seen
    assert "weights" not in seen
    assert [text_of(tokenizer, record) for record in records] == texts
    result, report = verified(tmp_path, *exact(server, policy))
    print(f"{case}: {outcome} ({len(report['flagged'])} of {len(records)} records flagged)")
    if outcome == "caught":
        assert result.exit_code == (report["run_p_value"] <= RUN_ALARM_LEVEL), result.output
        assert len(report["flagged"]) == len(records)
        honest_at_most = read_policy(policy).honest_rates.flagged  # of a policy from few answers
        assert report["run_p_value"] <= TESTS * honest_at_most ** len(records) * 1.001
    else:
        assert result.exit_code == 0, result.output
        assert report["flagged"] == []
