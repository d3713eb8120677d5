"""The seed key replaced between two runs: the records hold their seeds, and are replayed as before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.attackers.serving import ServedModel
from benchmarks.free_port import free_port
from benchmarks.inference_server import InferenceServer
from tests.cli.commands.test_run import invoke
from tests.places import BUNDLED_POLICY
from tests.procedures.operated import OperatedLog
from weightwarden.cli.sidecar.main import sidecar as sidecar_command
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.verifier.model.identity import identify_model

pytestmark = pytest.mark.slow


@contextmanager
def inference_server(model_folder: Path) -> Iterator[str]:
    """URL of an honest server of the embedded model."""
    identity = identify_model(model_folder)
    model = ServedModel.load(identity, head=identity.vocabulary)
    listen = Address(host="127.0.0.1", port=free_port())
    with InferenceServer(listen, model, "upstream-model", identity.context_length or 2048) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{listen.host}:{listen.port}"
        finally:
            server.shutdown()
            thread.join()


def with_new_seed_key(settings: Settings) -> Settings:
    """The settings with a new seed key, made by its command."""
    path = settings.seed_key.with_name("seed-2.key")
    sidecar_command.main(["key", str(path)], standalone_mode=False)
    return replace(settings, seed_key=path)


def test_answers_of_both_seed_keys_are_replayed(tmp_path: Path, model_folder: Path) -> None:
    with inference_server(model_folder) as url:
        operated = OperatedLog(tmp_path, model_folder, url)
        settings = operated.settings()
        for one in (settings, with_new_seed_key(settings)):
            with operated.sidecar(seed_key=one.seed_key) as sidecar:
                assert sidecar.complete("Once upon a time", max_tokens=6).status_code == 200
                seeds = [record.seed for record in sidecar.records()]
    assert len(set(seeds)) == 2
    public = operated.public("log.pub", *settings.signing_keys)
    run = ("run", operated.archives, "--public-key", public, "--model", model_folder, "--policy", BUNDLED_POLICY)
    done = invoke(*run, "--json", tmp_path / "report.json")
    assert done.exit_code == 0, done.output
