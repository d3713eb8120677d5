"""A trusted vLLM server with low-rank adapters: each record is replayed under its adapter's name there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.logger.model.small_adapter import write_adapter
from tests.verifier.replay.vllm.policies import exact_policy
from tests.verifier.replay.vllm.small_server import IDENTITY, Behaviour, record, small_server
from tests.verifier.replay.vllm.test_replayer import Words
from weightwarden.logger.model.adapter import AdapterFiles
from weightwarden.logger.record import Adapter, Record
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.model.compatibility import UnfitRecord
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.command import server_command
from weightwarden.verifier.replay.vllm.processor import InstructionSet, Processor
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer


@pytest.fixture
def tone(tmp_path: Path) -> AdapterFiles:
    return AdapterFiles.read("tone", write_adapter(tmp_path / "tone"))


@contextmanager
def replayer(behaviour: Behaviour, *adapters: AdapterFiles) -> Iterator[VllmReplayer]:
    identity = replace(IDENTITY, adapters={one.digest: one for one in adapters})
    with small_server(behaviour) as url, VllmClient(url, timeout=20) as client:
        yield VllmReplayer(client, identity, Words(), dtype="bfloat16", redraw=True, concurrency=4)


def models_asked(behaviour: Behaviour, replayer: VllmReplayer, one: Record) -> set[str]:
    """The models of all requests for a record: scoring, a deeper look, another draw."""
    first = len(behaviour.asked)
    for chunk in replayer.replay([0], [one]):
        assert chunk.rows.draw_again()
        chunk.rows.deepen(np.arange(2))
    return {body["model"] for body in behaviour.asked[first:]}


def test_all_requests_for_a_record_name_its_adapter_as_the_copy_is_named(tone: AdapterFiles) -> None:
    behaviour = Behaviour(adapters=["other", "tone"])
    one = record([5, 6, 7], seed=1, count=12, top_k=50)
    with replayer(behaviour, tone) as some:
        assert some.served_name == "small"
        renamed = one.model_copy(update={"adapter": Adapter(name="its name elsewhere", digest=tone.digest)})
        assert models_asked(behaviour, some, renamed) == {"tone"}
        assert models_asked(behaviour, some, one) == {"small"}
        other = one.model_copy(update={"adapter": Adapter(name="tone", digest="sha256:" + "0" * 64)})
        with pytest.raises(UnfitRecord, match="was not given"):
            list(some.replay([0], [other]))


def test_a_server_without_the_adapter_is_refused(tone: AdapterFiles) -> None:
    with (
        pytest.raises(ReplayServerError, match=r"does not serve the adapter tone \(--lora-modules\); it serves other"),
        replayer(Behaviour(adapters=["other"]), tone),
    ):
        pass


def test_an_own_server_is_started_with_the_adapters(tone: AdapterFiles) -> None:
    command = server_command(
        exact_policy("bfloat16"),
        Path("model"),
        processor=Processor(name="A", instructions=InstructionSet.AVX512),
        max_model_len=None,
        adapters=[tone],
    )
    at = command.arguments.index("--enable-lora")
    assert list(command.arguments[at : at + 3]) == ["--enable-lora", "--max-lora-rank", "8"]
    assert f"tone={tone.folder}" in command.arguments
