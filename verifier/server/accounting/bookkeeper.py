"""Accounting for verdicts, in the order of their positions, each once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, func, select

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.accounting.rate_points import add_point
from weightwarden.verifier.server.audit.task_queue import finish_archives
from weightwarden.verifier.server.audit.verdict_rows import ratios_of, sum_margins
from weightwarden.verifier.server.database.schema import TASK, VERDICT
from weightwarden.verifier.server.database.series import locked_series, set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.verification.series_monitor import LOG_RATIO

CHUNK = 2000
"""Number of verdicts of one transaction."""
POINT_SECONDS = 60.0
"""Seconds between two points of the charts."""
_PLAIN = (
    *("tokens", "mismatches", "suspicious", "dangerous"),
    *("counting_bits", "pooled_bits", "end_bits", "entropy_bits", "flagged", "unverifiable"),
)
"""Columns of verdicts that are added up unchanged."""


@dataclass(frozen=True, kw_only=True)
class Bookkeeper:
    """Bookkeeper of the accounts of a series.

    Attributes:
        longest: tokens of a record that weighs most in rates; longer ones weigh as much.
    """

    database: VerdictDatabase
    policy: BasePolicy
    vocabulary: int
    longest: int
    clock: Callable[[], float]

    def empty(self) -> bytes:
        """Empty accounts."""
        return Accounts.new(self.policy, self.vocabulary, self.longest).to_bytes()

    def account(self) -> int:
        """Account for all verdicts before the first record without a verdict. Return their number."""
        total = 0
        while done := self._account():
            total += done
        return total

    def _account(self) -> int:
        """Account for some verdicts, in one transaction.

        1. Find the last verdict before the first gap.
        2. Add the verdicts that are not accounted for yet.
        3. Add a point to the charts, if the last one is old enough.
        4. Store the accounts with the position reached, and mark finished archives.
        """
        with self.database.writing() as connection:
            # 1
            next_position, accounted, data = locked_series(connection)
            waiting = connection.execute(select(func.min(TASK.c.position))).scalar()
            horizon = next_position if waiting is None else min(waiting, next_position)
            horizon = min(horizon, accounted + CHUNK)
            if horizon > accounted:
                rows = (
                    connection.execute(
                        select(VERDICT)
                        .where(VERDICT.c.position >= accounted, VERDICT.c.position < horizon)
                        .order_by(VERDICT.c.position)
                    )
                    .mappings()
                    .all()
                )
                accounts = Accounts.from_bytes(data)
                # 2
                _add(accounts, rows)
                # 3
                if rows[-1]["at"] - accounts.pointed >= POINT_SECONDS:
                    add_point(connection, accounts, rows[-1]["at"])
                # 4
                set_series(connection, accounted=horizon, accounts=accounts.to_bytes())
            finish_archives(connection, self.clock())
            return int(horizon - accounted)

    def restart_monitor(self, connection: Connection, subject: str) -> None:
        """Restart the evidence, within a transaction, if the acknowledged alarm is about it."""
        _, _, data = locked_series(connection)
        accounts = Accounts.from_bytes(data)
        if subject != accounts.subject:
            return
        accounts.restart_monitor(self.policy, self.vocabulary, self.longest)
        set_series(connection, accounts=accounts.to_bytes())


def _add(accounts: Accounts, rows: Sequence[RowMapping]) -> None:
    def column(value: Callable[[RowMapping], Any]) -> FloatArray:
        return np.array([value(row) for row in rows], np.float64)

    columns = {name: column(lambda row, name=name: row[name] or 0.0) for name in _PLAIN}  # type: ignore[misc]
    columns["outlying"] = column(lambda row: row["outliers"] > 0)
    columns["early_stops"] = column(lambda row: row["early_stop"] and row["tokens"] > 0)
    columns["refusals"] = column(lambda row: row["tokens"] == 0 and not row["unverifiable"])
    columns[LOG_RATIO] = ratios_of([row["log_ratio"] for row in rows], accounts.monitor.conditional.bets)
    accounts.add(columns, *sum_margins([row["margins"] for row in rows]))
