"""Low-rank adapters on a real vLLM: clients choose them, records name them, and both replays use their copies."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.random_adapter import write_random_adapter
from benchmarks.recording.vllm_server import vllm_server
from tests.logger.sidecar.running import running, settings_in
from tests.places import BUNDLED_POLICY
from tests.vllm.commands import CONTEXT, invoke, written
from weightwarden.cli.main import verify
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters, vllm_arguments
from weightwarden.logger.record import Record
from weightwarden.verifier.replay.vllm.client import VllmClient

pytestmark = pytest.mark.vllm

PROMPTS = ("What is the capital of France?", "Write a haiku about rain.", "How do magnets work?", "Tell me a story.")
FILTERS = {"top_k": 50, "max_tokens": 16}


@pytest.fixture(scope="module")
def copies(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for seed, rank in enumerate((8, 8, 4)):
        write_random_adapter(folder / f"tone-{seed}", model_folder, seed=seed, rank=rank, strength=0.05)
    return folder


@pytest.fixture(scope="module")
def adapters(copies: Path) -> list[AdapterFiles]:
    return list(read_adapters([], [copies]).values())


@pytest.fixture(scope="module")
def lora_server(
    model_folder: Path, adapters: list[AdapterFiles], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmClient]:
    python = Path(os.environ["WEIGHTWARDEN_VLLM_PYTHON"])
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    arguments = ("--enforce-eager", "--max-logprobs", "1024", "--max-model-len", str(CONTEXT))
    with vllm_server(python, model_folder, log, (*arguments, *vllm_arguments(adapters))) as client:
        yield client


@pytest.fixture(scope="module")
def records(
    lora_server: VllmClient,
    model_folder: Path,
    copies: Path,
    adapters: list[AdapterFiles],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Record]:
    """Answers of each adapter through a sidecar, many at a time.

    None are of the model alone: vLLM 0.32 on a CPU computes those with its last adapter, and they are flagged.
    """
    settings = settings_in(
        tmp_path_factory.mktemp("sidecar"),
        model_folder,
        lora_server.url,
        upstream_model=lora_server.served_model()[0],
        max_model_len=CONTEXT,
        adapter_folders=(copies,),
    )
    names = [one.name for one in adapters]
    jobs = [(name, prompt) for prompt in PROMPTS for name in names]
    with running(settings) as sidecar:

        def ask(job: tuple[str, str]) -> None:
            messages = [{"role": "user", "content": job[1]}]
            body = {"model": job[0], "messages": messages, **FILTERS}
            answered = sidecar.client.post("/v1/chat/completions", json=body)
            assert answered.status_code == 200, answered.text
            assert answered.json()["model"] == job[0]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, jobs))
        found = sidecar.await_records(len(jobs))
    digests = {one.name: one.digest for one in adapters}
    assert {None if record.adapter is None else record.adapter.digest for record in found} == {*digests.values()}
    return found


def swapped(records: list[Record], adapters: list[AdapterFiles]) -> list[Record]:
    """The records of one adapter, as if another had answered."""
    first, second = adapters[0].of_record(), adapters[1].of_record()
    victims = [record for record in records if record.adapter == first]
    assert len(victims) == len(PROMPTS)
    return [record.model_copy(update={"adapter": second}) for record in victims]


def test_an_independent_replay_uses_the_adapters(
    records: list[Record], adapters: list[AdapterFiles], copies: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")

    def independent(sample: Path) -> Result:
        options = ("--policy", BUNDLED_POLICY, "--unsafe-unsigned", "--adapters", copies, "--json", tmp_path / "r.json")
        return CliRunner().invoke(verify, [str(part) for part in ("run", sample, *options)], catch_exceptions=False)

    result = independent(written(tmp_path / "honest.jsonl", records))
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "r.json").read_text())["flagged"] == []
    independent(written(tmp_path / "other.jsonl", swapped(records, adapters)))
    assert len(json.loads((tmp_path / "r.json").read_text())["flagged"]) == len(PROMPTS)


def test_an_exact_replay_uses_the_adapters(
    lora_server: VllmClient, records: list[Record], adapters: list[AdapterFiles], copies: Path, tmp_path: Path
) -> None:
    policy, report = tmp_path / "exact.toml", tmp_path / "r.json"
    honest = written(tmp_path / "honest.jsonl", records)
    made = invoke(lora_server, "calibrate", honest, "--adapters", copies, "--exact", "--out", policy)
    assert made.exit_code == 0, made.output
    run = ("--policy", policy, "--unsafe-unsigned", "--json", report)
    result = invoke(lora_server, "run", honest, "--adapters", copies, *run)
    assert result.exit_code == 0, result.output
    assert json.loads(report.read_text())["flagged"] == []
    other = written(tmp_path / "other.jsonl", swapped(records, adapters))
    invoke(lora_server, "run", other, "--adapters", copies, *run)
    assert len(json.loads(report.read_text())["flagged"]) == len(PROMPTS)
    result = invoke(lora_server, "run", honest, *run)
    assert result.exit_code == 2
    assert "was not given: --adapter tone-" in result.output
