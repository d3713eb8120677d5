"""The Parquet file of tokens is the frame of tokens, whatever the order of arrival, in bounded memory."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.throughput.cheap_replayer import CheapReplayer
from tests.recorded import FILTERED, records_of
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.verification import token_frame
from weightwarden.verifier.verification.token_frame import TokenFrame, TokenWriter
from weightwarden.verifier.verification.verifier import Verifier


@pytest.mark.parametrize("seed", range(3))
def test_the_file_is_in_the_order_of_the_records_whatever_the_order_of_arrival(
    seed: int, bundled_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_frame, "GROUP_ROWS", 100)
    verifier = Verifier(CheapReplayer(bundled_policy, Path()), bundled_policy)
    records = records_of(FILTERED)[:9]
    units = [[0, 4], [1], [2, 3, 8], [5, 7]]
    np.random.default_rng(seed).shuffle(units)
    frame, stream = TokenFrame(), io.BytesIO()
    with TokenWriter(stream, range(10, 19)) as writer:
        writer.skip(6)
        for places in units:
            unit = [records[place] for place in places]
            judged = verifier.judge(unit)
            frame.add(places, unit, judged)
            writer.add(places, unit, judged)
        writer.finish({"note": "said"})
    table, parquet = frame.table(), pq.ParquetFile(stream)
    numbered = table.set_column(0, "record", pq.read_table(stream)["record"])
    assert pq.read_table(stream).equals(numbered)
    assert parquet.read()["record"].to_pylist() == [10 + place for place in table["record"].to_numpy().tolist()]
    assert (parquet.metadata.metadata or {})[b"note"] == b"said"
    assert parquet.num_row_groups > 3


def test_a_file_that_lacks_a_record_is_not_finished(bundled_policy: Policy) -> None:
    verifier = Verifier(CheapReplayer(bundled_policy, Path()), bundled_policy)
    records = records_of(FILTERED)[:2]
    with TokenWriter(io.BytesIO(), range(2)) as writer:
        writer.add([1], records[1:], verifier.judge(records[1:]))
        with pytest.raises(ValueError, match="record 0 did not arrive"):
            writer.finish({})
