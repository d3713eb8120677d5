"""Shared by all tests: the embedded model, loaded once, and recorded traffic."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.places import BUNDLED_POLICY
from tests.postgresql import postgresql_server
from tests.ray_cluster import ray_here
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

settings.register_profile("project", deadline=None, derandomize=True)  # the same examples every time, however slow
settings.load_profile("project")


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model's folder, written on first use of this machine."""
    return ensure_embedded_model()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server; `new_database` makes databases on it."""
    with postgresql_server() as url:
        yield url


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray on this machine, which engines use that are opened meanwhile."""
    with ray_here():
        yield


@pytest.fixture(scope="session")
def replayer(model_folder: Path) -> TransformersReplayer:
    return TransformersReplayer.load(identify_model(model_folder), device="cpu")


@pytest.fixture(scope="session")
def bundled_policy() -> Policy:
    """The policy that comes with the project, calibrated on half of FILTERED."""
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    return policy
