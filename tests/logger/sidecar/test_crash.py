"""SIGKILL under load: every token that any client received is in the log."""

import asyncio
import json
import random
import signal
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from tests.logger.sidecar.process import Process, config_file, started
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, drawn, event
from weightwarden.cli.sidecar.main import sidecar as sidecar_command
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.store.reader import LogReader

pytestmark = pytest.mark.slow

STREAMS = 12


async def quick(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD
    ids = drawn(body)
    for at, token in enumerate(ids):
        yield event([token], "length" if at == len(ids) - 1 else None)
        await asyncio.sleep(0.001)


@dataclass
class Received:
    """What a client got of one answer."""

    prompt: list[int]
    tokens: int = 0
    text: str = ""


@dataclass
class Clients:
    """Clients that ask one thing after the other, streaming or not, until their server is gone."""

    url: str
    kill: int
    received: list[Received] = field(default_factory=list)

    def run(self, number: int) -> None:
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            for at in range(10_000):
                answer = Received([10 + self.kill, 100 + number, 1000 + at])
                self.received.append(answer)
                body = {"model": "small", "prompt": answer.prompt, "max_tokens": 60}
                try:
                    client.headers["x-request-id"] = "-".join(map(str, answer.prompt))
                    if number % 3:
                        self._stream(client, body, answer)
                    else:
                        choice = client.post("/v1/completions", json=body).json()["choices"][0]
                        answer.tokens, answer.text = 60, choice["text"]
                except (httpx2.TransportError, KeyError):
                    return

    def _stream(self, client: httpx2.Client, body: dict[str, Any], answer: Received) -> None:
        with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    choice = json.loads(line[6:])["choices"][0]
                    if choice["finish_reason"] is None:
                        answer.tokens += 1
                        answer.text += choice["text"]


def records_of_log(log: str) -> dict[tuple[int, ...], Record]:
    reader = LogReader(log)
    reader.audit()
    records = [decode_record(entry) for entry in reader.entries(0, reader.size())]
    by_prompt = {tuple(record.prompt_token_ids): record for record in records}
    assert len(by_prompt) == len(records)
    return by_prompt


@pytest.mark.parametrize(("workers", "kills"), [(1, 21), (3, 7)])
def test_a_killed_sidecar_loses_no_token_that_any_client_received(
    tmp_path: Path, model_folder: Path, upstream: Upstream, workers: int, kills: int
) -> None:
    upstream.answer = quick
    tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    config = config_file(tmp_path, model_folder, upstream.url, workers=workers)
    rng = random.Random(7)
    all_received: list[Received] = []
    log = ""
    for kill in range(kills):
        process = started(config)
        log = process.log
        clients = Clients(process.url, kill)
        threads = [threading.Thread(target=clients.run, args=(number,)) for number in range(STREAMS)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.2, 1.0))
        process.stop(signal.SIGKILL)
        for thread in threads:
            thread.join()
        all_received += clients.received
    recovered = CliRunner().invoke(
        sidecar_command, ["recover", "--log", log, "--signing-key", str(tmp_path / "log.key")]
    )
    assert recovered.exit_code == 0, recovered.output
    records = records_of_log(log)
    seen = cut_off = 0
    for answer in all_received:
        if answer.tokens:
            record = records[tuple(answer.prompt)]
            assert len(record.output_token_ids) >= answer.tokens
            assert tokenizer.decode(record.output_token_ids).startswith(answer.text.rstrip("�"))
            seen += answer.tokens
            cut_off += record.stop_reason == "logger"
    assert seen > 1000
    assert cut_off >= kills
    stamps = dict(LogReader(log).stamps())
    assert [stamps[at].request_id for at in range(len(records))] == ["-".join(map(str, prompt)) for prompt in records]
    seeds = [record.seed for record in records.values()]
    assert len(set(seeds)) == len(seeds)


@pytest.fixture
def process(tmp_path: Path, model_folder: Path, upstream: Upstream) -> Process:
    return started(config_file(tmp_path, model_folder, upstream.url, drain_timeout=1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_what_it_can_and_records_what_it_cuts_off(
    process: Process, upstream: Upstream, number: int
) -> None:
    async def long_or_short(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for token in range(200, 200 + body["max_tokens"]):
            yield event([token], "length" if token == 199 + body["max_tokens"] else None)
            await asyncio.sleep(0.02)

    upstream.answer = long_or_short
    outcomes: dict[int, Any] = {}

    def ask(tokens: int, stream: bool) -> None:
        body = {"model": "small", "prompt": [tokens], "max_tokens": tokens, "stream": stream}
        try:
            outcomes[tokens] = httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False, timeout=30).text
        except httpx2.TransportError as error:
            outcomes[tokens] = error

    threads = [
        threading.Thread(target=ask, args=given) for given in ((30, True), (31, False), (2000, True), (2001, False))
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    started_stopping = time.monotonic()
    assert process.stop(number) == 0
    assert time.monotonic() - started_stopping < 10
    for thread in threads:
        thread.join()
    assert outcomes[30].endswith("data: [DONE]\n\n")
    assert json.loads(outcomes[31])["choices"][0]["finish_reason"] == "length"
    records = records_of_log(process.log)
    assert [records[(tokens,)].finish_reason for tokens in (30, 31)] == ["length", "length"]
    assert {records[(tokens,)].stop_reason for tokens in (2000, 2001)} == {"logger"}
    assert json.loads(outcomes[2001])["error"]["type"] == "unavailable"
    assert len(records[(2000,)].output_token_ids) > 10
    events = [json.loads(line)["event"] for line in process.said.read_text().splitlines()]
    assert events[-1] == "stopped"
    assert LogReader(process.log).checkpoints()[-1][0] == 4


def test_told_twice_it_cuts_off_at_once(tmp_path: Path, model_folder: Path, upstream: Upstream) -> None:
    async def endless(_: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for token in range(200, 8000):
            yield event([token])
            await asyncio.sleep(0.02)

    upstream.answer = endless
    process = started(config_file(tmp_path, model_folder, upstream.url, drain_timeout=60))
    body = {"model": "small", "prompt": [5], "max_tokens": 7000}
    answers: list[httpx2.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(
            httpx2.post(f"{process.url}/v1/completions", json=body, trust_env=False, timeout=60)
        )
    )
    asking.start()
    time.sleep(0.5)
    process.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    began = time.monotonic()
    assert process.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    asking.join()
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "5")
    assert records_of_log(process.log)[(5,)].stop_reason == "logger"
