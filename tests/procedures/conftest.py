from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger.sidecar.scripted_upstream import Upstream, scripted_upstream
from tests.procedures.operated import OperatedLog


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One honest inference server for all tests of a module."""
    with scripted_upstream() as server:
        yield server


@pytest.fixture
def operated(tmp_path: Path, model_folder: Path, upstream: Upstream) -> OperatedLog:
    """A log that a sidecar with archives writes."""
    return OperatedLog(tmp_path, model_folder, upstream.url)
