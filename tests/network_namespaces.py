"""Network namespaces for tests."""

import os

import pytest

from benchmarks.ways_out.namespaces import missing


def require_network_namespaces() -> None:
    """Skip where namespaces with nftables cannot be made, unless WEIGHTWARDEN_REQUIRE_NETWORK_NAMESPACES is set."""
    reason = missing()
    if reason is None:
        return
    if os.environ.get("WEIGHTWARDEN_REQUIRE_NETWORK_NAMESPACES"):
        pytest.fail(reason)
    pytest.skip(reason)
