from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream, scripted_upstream
from tests.logger.sidecar.weather import TEMPLATE
from weightwarden.logger.grammar.backend import GrammarBackend


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with scripted_upstream() as server:
        yield server


@pytest.fixture
def sidecar(tmp_path: Path, model_folder: Path, upstream: Upstream) -> Iterator[Sidecar]:
    with running(settings_in(tmp_path, model_folder, upstream.url)) as one:
        yield one


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[Upstream]:
    """One server for all tests of a module; each sets what it answers."""
    with scripted_upstream() as server:
        yield server


@pytest.fixture(scope="module")
def impatient(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream
) -> Iterator[Sidecar]:
    """A sidecar that waits a second for its server, where all tests of a module are served."""
    folder = tmp_path_factory.mktemp("impatient")
    with running(
        settings_in(folder, model_folder, shared_upstream.url, limits={"first_token": 1.0, "stall": 1.0})
    ) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(model_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def calling(
    tmp_path_factory: pytest.TempPathFactory, model_folder: Path, shared_upstream: Upstream
) -> Iterator[Sidecar]:
    """A sidecar whose server has the grammar backend, and whose template knows tools and reasoning."""
    settings = settings_in(
        tmp_path_factory.mktemp("calling"),
        model_folder,
        shared_upstream.url,
        chat_template=TEMPLATE,
        reasoning_parser="think",
        grammar_backend=GrammarBackend("1.7.6"),
    )
    with running(settings) as sidecar:
        yield sidecar
