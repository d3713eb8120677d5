from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger.sidecar.running import Sidecar, running, settings_in
from tests.logger.sidecar.scripted_upstream import Upstream, scripted_upstream


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
