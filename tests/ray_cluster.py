"""A Ray for the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from verifier.ray.cluster import Cluster


@contextmanager
def ray_here() -> Iterator[None]:
    """A Ray on this machine; engines that are opened meanwhile use it. Workers find this checkout."""
    os.environ["PYTHONWARNINGS"] = "default"  # of workers and of Ray's own processes, which tests do not answer for
    cluster = Cluster.connect(None)
    try:
        yield
    finally:
        cluster.close()
