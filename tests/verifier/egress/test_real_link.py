"""A sidecar and an inference server in network namespaces of their own: all that passes between them is explained."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.egress.smuggled import OTHER_ID, real_rows
from benchmarks.egress.smuggling import CASES
from tests.network_namespaces import require_network_namespaces
from tests.places import ROOT
from weightwarden.verifier.egress.logged_answers import Match

pytestmark = pytest.mark.slow


@pytest.fixture(params=[0, 10], ids=["no loss", "one packet in ten lost at each end"])
def real_link(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a capture of the link, and the log."""
    require_network_namespaces()
    command = ["unshare", "-n", sys.executable, "-m", "benchmarks.egress.real_link", str(tmp_path)]
    command += ["--requests", "25", "--loss", str(request.param)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return tmp_path


def test_all_of_it_is_explained_and_every_way_of_smuggling_is_found(real_link: Path) -> None:
    honest, *others = real_rows(real_link)
    assert honest.frames > 1_000
    assert (honest.verdict, honest.explained_share) == ("clear", 1)
    assert [row.smuggled for row in others] == [*CASES, OTHER_ID]
    kinds = [*(kind for _, kind in CASES.values()), Match.DIFFERS.value]
    assert [row.found_as for row in others] == kinds
    assert all(row.verdict == "unexplained" and row.unexplained_frames for row in others)
