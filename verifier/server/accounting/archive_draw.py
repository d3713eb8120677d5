"""The draw of an archive, as the limit of the series counts it: once all of its selected records have verdicts."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from sqlalchemy import Connection, RowMapping, select

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.scoring.ledger import CODED_BITS
from weightwarden.verifier.server.database.schema import ARCHIVE, VERDICT
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.audited_population import AuditedPopulation, most_bits
from weightwarden.verifier.verification.length_table import LengthTable

MOST = 20
"""Largest number of archives at once."""
_CHARGED = ("tokens", "counting_bits", "pooled_bits", "end_bits", "unverifiable")


def complete_archives(connection: Connection, horizon: int) -> Sequence[RowMapping]:
    """The next archives whose selected records come before a position, and that no limit counts, in their order."""
    there = select(ARCHIVE).where(ARCHIVE.c.unaudited.is_not(None), ARCHIVE.c.position_end <= horizon)
    in_order = there.order_by(ARCHIVE.c.position_end, ARCHIVE.c.checked, ARCHIVE.c.id).limit(MOST)
    return connection.execute(in_order).mappings().all()


def archive_draw(
    connection: Connection, archive: RowMapping, log2_vocabulary: float
) -> tuple[AuditedPopulation, dict[CodeName, FloatArray]]:
    """The draw of an archive, and the bits of its audited records under each code.

    An unverifiable record is charged the most that its tokens and its end can hold.
    """
    charged = select(*(VERDICT.c[name] for name in _CHARGED)).where(VERDICT.c.archive == archive["id"])
    verdicts = connection.execute(charged.order_by(VERDICT.c.position)).mappings().all()
    tokens_r = np.array([row["tokens"] for row in verdicts], np.int64)
    plain_r = np.array([row["unverifiable"] for row in verdicts], np.bool_)
    most_r = most_bits(tokens_r, log2_vocabulary)

    def bits(name: Literal["counting_bits", "pooled_bits"], a_record: float) -> FloatArray:
        charged_r = np.array([row[name] + row["end_bits"] + a_record for row in verdicts], np.float64)
        return np.where(plain_r, most_r, charged_r)

    design = SamplingDesign(archive["audit_rate"], archive["audit_by"])
    return (
        AuditedPopulation.of(tokens_r, [], LengthTable.from_bytes(archive["unaudited"]), design),
        {"counting": bits("counting_bits", 0.0), "pooled": bits("pooled_bits", CODED_BITS)},
    )
