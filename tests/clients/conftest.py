"""One sidecar for all clients, and the Python of their environment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import clients_python
from tests.clients.upstream import model
from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import scripted_upstream
from tests.places import ROOT
from weightwarden.logger.grammar.backend import GrammarBackend

REQUIRED = "WEIGHTWARDEN_REQUIRE_CLIENTS"


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the clients' environment (`make test-clients`)."""
    path = clients_python()
    if not path.exists():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{path}: no such Python")
        pytest.skip(f"{path}: no such Python; `make test-clients` makes it")
    return path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[Sidecar]:
    """A sidecar with tools and grammars, before a server that answers well."""
    keys = tmp_path_factory.mktemp("clients") / "keys"
    keys.write_text("key-of-a-real-client\n")
    keys.chmod(0o600)
    with scripted_upstream() as upstream:
        upstream.answer = model(model_folder)
        settings = settings_in(
            tmp_path_factory.mktemp("served"),
            model_folder,
            upstream.url,
            chat_template=ROOT / "benchmarks" / "recording" / "tools.jinja",
            grammar_backend=GrammarBackend.parse("guidance==1.7.6"),
            api_keys=keys,
        )
        with running(settings) as sidecar:
            yield sidecar
