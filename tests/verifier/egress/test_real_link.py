"""A sidecar and an inference server in network namespaces of their own: all that passes between them is explained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.egress.measure import real_rows
from benchmarks.egress.smuggling import CASES
from tests.places import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real_link(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a capture of the link, and the log."""
    probe = subprocess.run(["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    if probe.returncode:
        reason = f"no network namespaces here: {probe.stderr.strip()}"
        if os.environ.get("WEIGHTWARDEN_REQUIRE_NETWORK_NAMESPACES"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("link")
    command = ["unshare", "-n", sys.executable, "-m", "benchmarks.egress.real_link", str(folder), "--requests", "25"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return folder


def test_all_of_it_is_explained_and_every_way_of_smuggling_is_found(real_link: Path) -> None:
    honest, *others = real_rows(real_link)
    assert honest.frames > 1_000
    assert (honest.explained_share, honest.unexplained_frames) == (1, 0)
    assert [row.smuggled for row in others] == list(CASES)
    for row in others:
        assert row.found_as == CASES[str(row.smuggled)][1]
        assert 0 < row.unexplained_frames < 20
