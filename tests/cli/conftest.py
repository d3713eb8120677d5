from collections.abc import Iterator

import pytest

from tests.logger.sidecar.scripted_upstream import Upstream, scripted_upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with scripted_upstream() as server:
        yield server
