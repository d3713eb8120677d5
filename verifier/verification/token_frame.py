"""Table of the scores and verdicts of every token of a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.record_verdict import TokenDetail

if TYPE_CHECKING:
    import pyarrow

_NAMES = np.array([verdict.name.lower() for verdict in sorted(Verdict)])


class TokenFrame:
    """Scores and verdicts of tokens, collected unit by unit.

    Columns of the table, one row an output token, in the order of the records:

        record: place of the record in the input.
        position: of the token in the output, from 0.
        token: id.
        margin: margin in logits; 0 where the token is the replay's own choice; null outside the support.
        exact: whether the token is the replay's own choice.
        logit_rank: 1 for the largest logit.
        gumbel_rank: 1 for the largest perturbed logit.
        admissible: size of the admissible set, this token included.
        verdict: safe, suspicious or dangerous.
        charged_bits: bits that the position could carry unseen.
        likelihood: GM-LS or IPT-LS, nats, larger is more plausible; null in exact replay.
        unsteady: whether rounding errors decide the position. It is charged as scored, and counts as the replay's own
            choice (margin 0, exact, safe).
        flagged: whether the record is flagged.
    """

    def __init__(self) -> None:
        self._places: list[int] = []
        self._details: list[TokenDetail] = []
        self._outputs: list[Sequence[int]] = []
        self._flagged: list[bool] = []

    def add(self, places: Sequence[int], records: Sequence[Record], judged: Judgement) -> None:
        """Keep the tokens of judged records. Records without a verdict have none."""
        for place, record, verdict in zip(places, records, judged.records, strict=True):
            if len(verdict.tokens.margin):
                self._places.append(place)
                self._details.append(verdict.tokens)
                self._outputs.append(record.output_token_ids)
                self._flagged.append(verdict.flagged)

    def table(self) -> "pyarrow.Table":
        """The table; the class docstring lists its columns."""
        import pyarrow as pa

        order = np.argsort(np.array(self._places, np.int64))
        details = [self._details[at] for at in order]
        lengths = np.array([len(detail.margin) for detail in details], np.int64)
        positions: list[IntArray] = [np.arange(length) for length in lengths]

        def whole(name: str) -> np.ndarray:
            return np.concatenate([getattr(detail, name) for detail in details]) if details else np.empty(0)

        margin, likelihood = whole("margin"), whole("likelihood_score")
        return pa.table(
            {
                "record": pa.array(np.repeat(np.array(self._places, np.int64)[order], lengths), pa.int64()),
                "position": pa.array(np.concatenate(positions) if positions else [], pa.int64()),
                "token": pa.array([token for at in order for token in self._outputs[at]], pa.int64()),
                "margin": pa.array(margin, pa.float64(), mask=~np.isfinite(margin)),
                "exact": pa.array(whole("exact").astype(np.bool_), pa.bool_()),
                "logit_rank": pa.array(whole("logit_rank"), pa.int64()),
                "gumbel_rank": pa.array(whole("gumbel_rank"), pa.int64()),
                "admissible": pa.array(whole("admissible"), pa.int64()),
                "verdict": pa.array(_NAMES[whole("verdict").astype(np.int64)].tolist(), pa.string()),
                "charged_bits": pa.array(whole("charged_bits"), pa.float64()),
                "likelihood": pa.array(likelihood, pa.float64(), mask=np.isnan(likelihood)),
                "unsteady": pa.array(whole("unsteady").astype(np.bool_), pa.bool_()),
                "flagged": pa.array(np.repeat(np.array(self._flagged, np.bool_)[order], lengths), pa.bool_()),
            }
        )
