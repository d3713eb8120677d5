"""A Ray for the tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from weightwarden.verifier.verification.ray.cluster import Cluster


@contextmanager
def ray_here() -> Iterator[None]:
    """A Ray on this machine; engines that are opened meanwhile use it."""
    cluster = Cluster.connect(None)
    try:
        yield
    finally:
        cluster.close()
