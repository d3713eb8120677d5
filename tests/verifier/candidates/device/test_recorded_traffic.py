"""Real answers, verified with the reduction on the device and on the host."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.recorded import RECORDED
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier


@pytest.fixture
def on_device(replayer: TransformersReplayer) -> Iterator[TransformersReplayer]:
    before: TopKMethod | None = replayer.selection
    replayer.selection = "blocked"
    yield replayer
    replayer.selection = before


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_records_get_the_same_verdicts_on_the_device(
    path: Path, on_device: TransformersReplayer, bundled_policy: Policy
) -> None:
    schemes = {bundled_policy.made_for.scheme}
    records = [placed.record for placed in read_traffic(path) if placed.record.engine.sampler in schemes][:8]
    verifier = Verifier(on_device, bundled_policy)
    ours = verifier.judge(records)
    on_device.selection = None
    theirs = verifier.judge(records)
    for a, b in zip(ours.records, theirs.records, strict=True):
        np.testing.assert_array_equal(a.tokens.exact, b.tokens.exact)
        np.testing.assert_array_equal(a.tokens.admissible, b.tokens.admissible)
        np.testing.assert_array_equal(a.tokens.verdict, b.tokens.verdict)
        np.testing.assert_allclose(a.tokens.margin, b.tokens.margin, rtol=0, atol=1e-9)
        assert a.reasons == b.reasons
    np.testing.assert_allclose(ours.charges.pooled_bits_r, theirs.charges.pooled_bits_r, rtol=1e-9)
    np.testing.assert_array_equal(ours.margins.candidates_rb, theirs.margins.candidates_rb)
