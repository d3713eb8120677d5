"""Shared by all tests: the embedded model, loaded once, and recorded traffic."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.places import BUNDLED_POLICY

if TYPE_CHECKING:  # what a test does not use is not imported for it
    from weightwarden.verifier.policy.calibrated import Policy
    from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

settings.register_profile("project", deadline=None, derandomize=True)  # the same examples every time, however slow
settings.load_profile("project")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have an interrupt end the run even where a command that is under test takes it for its own."""

    def interrupted(*_: object) -> None:
        session.shouldstop = "interrupted"
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupted)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model's folder, written on first use of this machine."""
    from weightwarden.verifier.model.embedded import ensure_embedded_model

    return ensure_embedded_model()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server; `new_database` makes databases on it."""
    from tests.postgresql import postgresql_server

    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray on this machine, which engines use that are opened meanwhile."""
    from tests.ray_cluster import ray_here

    with ray_here():
        yield


@pytest.fixture(scope="session")
def replayer(model_folder: Path) -> "TransformersReplayer":
    from weightwarden.verifier.model.identity import identify_model
    from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

    return TransformersReplayer.load(identify_model(model_folder), device="cpu")


@pytest.fixture(scope="session")
def bundled_policy() -> "Policy":
    """The policy that comes with the project, calibrated on half of FILTERED."""
    from weightwarden.verifier.policy.calibrated import Policy
    from weightwarden.verifier.policy.file import read_policy

    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    return policy
