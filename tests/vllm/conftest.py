"""One real vLLM server for all tests, its honest answers, and the exact policy that they make."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recording.grammars import PINNED
from benchmarks.recording.vllm_server import settings_here, vllm_server
from tests.recorded import GREEDY, records_of
from tests.vllm.commands import CONTEXT, invoke, written
from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.processor import this_processor

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "filtered": {"top_p": 0.95, "top_k": 50},
    "unfiltered": {},
    "top-p alone": {"temperature": 0.8, "top_p": 0.9},
    "min-p and penalties": {
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
    },
    "bias and bad words": {
        "top_p": 0.95,
        "top_k": 50,
        "min_tokens": 10,
        "logit_bias": {28: 2.0, 260: -1.5},
        "bad_words": ["is", "Paris"],
    },
    "allowed tokens": {"allowed_token_ids": list(range(200, 700))},
    "hot": {"temperature": 1.7, "top_k": 100},
    "hot, top-p alone": {"temperature": 1.5, "top_p": 0.95},
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The processor, and the settings that it gave the servers of the tests in this folder."""
    if config.option.markexpr != "vllm":
        return
    settings = settings_here()
    environment = " ".join(f"{name}={value}" for name, value in settings.environment.items()) or "no environment"
    terminalreporter.section("vLLM servers")
    terminalreporter.line(f"processor: {this_processor(os.environ)}")
    terminalreporter.line(f"started with --dtype {settings.dtype}, {environment}; exact replay: {settings.exactness}")


@pytest.fixture(scope="session")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmClient]:
    """One server for all tests, pinned to one grammar backend; short contexts, so that one can be filled.

    It is eager: to compile takes minutes a server. `benchmarks.exact_replay.processors` measures compiled ones.
    """
    python = Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"])
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    arguments = (*PINNED, "--max-logprobs", "1024", "--max-model-len", str(CONTEXT))
    with vllm_server(python, model_folder, log, arguments) as client:
        yield client


@pytest.fixture(scope="session")
def traffic(server: VllmClient, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """Three answers of every kind, one of them drawn alone, and one that fills the context; the others are drawn
    sixteen at a time."""
    requests = records_of(GREEDY)
    jobs = [
        (kind, requests[i + 3 * number % 20], SamplingParams(max_tokens=24, **sampling), 900 + i)
        for number, (kind, sampling) in enumerate(KINDS.items())
        for i in range(3)
    ]
    everything = [token for r in requests for token in r.prompt_token_ids]
    full = requests[0].model_copy(update={"prompt_token_ids": everything[: CONTEXT - 12]})
    jobs.append(("full context", full, SamplingParams(max_tokens=12, top_k=50, ignore_eos=True), 77))

    def answer(job: tuple[str, Record, SamplingParams, int]) -> tuple[str, Record]:
        kind, request, sampling, seed = job
        asked = request.model_copy(update={"sampling": sampling, "seed": seed})
        limit = sampling.max_tokens or 1
        output = server.draw(asked.prompt_token_ids, limit, request_sampling(asked))
        reason = "length" if len(output) == limit else "stop"
        answered = asked.model_dump() | {"output_token_ids": output, "finish_reason": reason, "stop_reason": None}
        return kind, Record.model_validate(answered)

    singles, concurrent = jobs[2::3], [job for at, job in enumerate(jobs) if at % 3 != 2]
    answers: dict[str, list[Record]] = {}
    with ThreadPoolExecutor(16) as pool:
        for kind, record in [*pool.map(answer, concurrent), *map(answer, singles)]:
            answers.setdefault(kind, []).append(record)
    return answers


@pytest.fixture(scope="session")
def policy(server: VllmClient, traffic: dict[str, list[Record]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exact policy of the server's own answers: that it is written at all says that every token came out equal."""
    folder = tmp_path_factory.mktemp("policy")
    records = [record for group in traffic.values() for record in group]
    path = folder / "exact.toml"
    result = invoke(server, "calibrate", written(folder / "t.jsonl", records), "--exact", "--out", path)
    assert result.exit_code == 0, result.output
    assert "differs beyond ties" in result.output
    return path
