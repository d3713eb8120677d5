"""Recorded honest traffic raises no alarm of the series monitor, in any order."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.guarantees.honest_capital import honest_row
from tests.recorded import RECORDED, records_of
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model

RECORDS = 24

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_no_order_of_honest_records_looks_dishonest(path: Path, tmp_path: Path) -> None:
    answers = records_of(path)[:RECORDS]
    identity = identify_model(ensure_embedded_model())
    row = honest_row(path, answers, identity, tmp_path, 10, np.random.default_rng(0))
    assert row.records == RECORDS
    assert 0 < row.median_largest_capital <= row.largest_capital < 100
