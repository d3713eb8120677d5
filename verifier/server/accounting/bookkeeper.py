"""Accounting for verdicts, in the order of their positions, each once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, RowMapping, func, select, update

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.server.accounting.accounts import FORMAT, Accounts
from weightwarden.verifier.server.accounting.archive_draw import archive_draw, complete_archives
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.accounting.rate_points import add_point
from weightwarden.verifier.server.audit.task_queue import finish_archives
from weightwarden.verifier.server.audit.verdict_rows import ratios_of, sum_margins
from weightwarden.verifier.server.database.schema import ARCHIVE, TASK, VERDICT
from weightwarden.verifier.server.database.series import locked_series, set_series
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase
from weightwarden.verifier.statistics.sampling_design import SamplingDesign
from weightwarden.verifier.verification.series_limit import SeriesLimit
from weightwarden.verifier.verification.series_monitor import LOG_RATIO

CHUNK = 2000
"""Number of verdicts of one transaction."""
POINT_SECONDS = 60.0
"""Seconds between two points of the charts."""
_PLAIN = (
    *("tokens", "mismatches", "suspicious", "dangerous", "outside_grammar"),
    *("counting_bits", "pooled_bits", "end_bits", "entropy_bits", "flagged", "unverifiable"),
)
"""Columns of verdicts that are added up unchanged."""


@dataclass(frozen=True, kw_only=True)
class Bookkeeper:
    """Bookkeeper of the accounts of a series.

    Attributes:
        longest: tokens of a record that weighs most in rates, and of the shortest one for which the limit of a new
            series has a price.
        design: sampling design with the least rate, for which a new series has its limit.
        length_limit: largest number of tokens of an answer.
    """

    database: VerdictDatabase
    policy: BasePolicy
    vocabulary: int
    longest: int
    design: SamplingDesign
    length_limit: int
    clock: Callable[[], float]

    def empty(self) -> bytes:
        """Empty accounts."""
        return self._new().to_bytes()

    def upgrade(self) -> bool:
        """Have accounts of an earlier format begin what they lack now. Return whether they did."""
        with self.database.writing() as connection:
            _, _, data = locked_series(connection)
            if Accounts.format_of(data) == FORMAT:
                return False
            set_series(connection, accounts=Accounts.from_bytes(data, self._new()).to_bytes())
            return True

    def covers_design(self) -> bool:
        """True if the limit of the series has prices for the present sampling design and length limit."""
        with self.database.reading() as connection:
            return current_accounts(connection).limit.covers(self.design, self.length_limit)

    def _new(self) -> Accounts:
        """Accounts without verdicts, whose limit of the series begins now."""
        limit = SeriesLimit.new(float(np.log2(self.vocabulary)), self.design, self.length_limit, self.longest)
        return Accounts.new(self.policy, self.vocabulary, self.longest, limit=limit, limit_since=self.clock())

    def account(self) -> int:
        """Account for all verdicts before the first record without a verdict. Return their number."""
        total, (verdicts, draws) = 0, self._account()
        while verdicts or draws:
            total += verdicts
            verdicts, draws = self._account()
        return total

    def _account(self) -> tuple[int, int]:
        """Account for some verdicts and draws, in one transaction. Return their numbers.

        1. Find the last verdict before the first gap.
        2. Add the verdicts that are not accounted for yet.
        3. Add the archives whose verdicts are all accounted for to the limit of the series. Those without a selected
           record count, too.
        4. Add a point to the charts, if the last one is old enough.
        5. Store the accounts with the position reached, and mark finished archives.
        """
        with self.database.writing() as connection:
            # 1
            next_position, accounted, data = locked_series(connection)
            waiting = connection.execute(select(func.min(TASK.c.position))).scalar()
            horizon = next_position if waiting is None else min(waiting, next_position)
            horizon = min(horizon, accounted + CHUNK)
            rows = (
                connection.execute(
                    select(VERDICT)
                    .where(VERDICT.c.position >= accounted, VERDICT.c.position < horizon)
                    .order_by(VERDICT.c.position)
                )
                .mappings()
                .all()
            )
            complete = complete_archives(connection, horizon)
            if rows or complete:
                accounts = Accounts.from_bytes(data)
                # 2
                if rows:
                    _add(accounts, rows, _designs(connection, rows), self.longest)
                # 3
                for archive in complete:
                    accounts.limit.add(*archive_draw(connection, archive, accounts.limit.log2_vocabulary))
                counted = ARCHIVE.c.id.in_([archive["id"] for archive in complete])
                connection.execute(update(ARCHIVE).where(counted).values(unaudited=None))
                # 4
                at = max([row["at"] for row in rows] or [archive["checked"] for archive in complete])
                if at - accounts.pointed >= POINT_SECONDS:
                    add_point(connection, accounts, at)
                # 5
                set_series(connection, accounted=horizon, accounts=accounts.to_bytes())
            finish_archives(connection, self.clock())
            return len(rows), len(complete)

    def restart_monitor(self, connection: Connection, subject: str) -> None:
        """Restart the evidence, within a transaction, if the acknowledged alarm is about it."""
        _, _, data = locked_series(connection)
        accounts = Accounts.from_bytes(data)
        if subject != accounts.subject:
            return
        accounts.restart_monitor(self.policy, self.vocabulary, self.longest)
        set_series(connection, accounts=accounts.to_bytes())


def _add(accounts: Accounts, rows: Sequence[RowMapping], designs: Mapping[int, SamplingDesign], longest: float) -> None:
    """Add verdicts.

    Args:
        designs: sampling design of each archive, by its number.
        longest: tokens of a record that weighs most in rates.
    """

    def column(value: Callable[[RowMapping], Any]) -> FloatArray:
        return np.array([value(row) for row in rows], np.float64)

    columns = {name: column(lambda row, name=name: row[name] or 0.0) for name in _PLAIN}  # type: ignore[misc]
    columns["outlying"] = column(lambda row: row["outliers"] > 0)
    columns["early_stops"] = column(lambda row: row["early_stop"] and row["tokens"] > 0)
    columns["refusals"] = column(lambda row: row["tokens"] == 0 and not row["unverifiable"])
    archive_r = np.array([row["archive"] for row in rows])
    for weight in ("record_weight", "token_weight"):
        columns[weight] = np.empty(len(rows))
    for archive, design in designs.items():
        of_r = archive_r == archive
        columns["record_weight"][of_r] = design.record_weights(columns["tokens"][of_r])
        columns["token_weight"][of_r] = design.token_weights(columns["tokens"][of_r], longest)
    columns[LOG_RATIO] = ratios_of([row["log_ratio"] for row in rows], accounts.monitor.conditional.bets)
    accounts.add(columns, *sum_margins([row["margins"] for row in rows]))


def _designs(connection: Connection, rows: Sequence[RowMapping]) -> dict[int, SamplingDesign]:
    """The sampling designs of the archives of verdicts, by the archives' numbers."""
    drawn = select(ARCHIVE.c.id, ARCHIVE.c.audit_rate, ARCHIVE.c.audit_by)
    found = connection.execute(drawn.where(ARCHIVE.c.id.in_({row["archive"] for row in rows})))
    return {number: SamplingDesign(rate, by) for number, rate, by in found}
