"""The points of the charts: the watched rates and the limit of the series at a moment."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, insert

from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.server.accounting.accounts import CONFIDENCE, PER_RECORD, Accounts
from weightwarden.verifier.server.database.schema import RATE_POINT
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.intervals import Interval
from weightwarden.verifier.verification.series_limit import CODES
from weightwarden.verifier.verification.series_statement import LimitParts


@dataclass(frozen=True, kw_only=True)
class LimitFigures:
    """The limit of the series under a code at a moment.

    Attributes:
        limit: bits a token of all answers, at most.
        rate: its part that grows with the traffic, bits a token.
        records: answers of the series, audited or not.
        tokens: their output tokens.
    """

    limit: float
    rate: float
    records: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class RateFigures:
    """Figures of a point.

    Attributes:
        totals: sums so far by name of `TOTALS`; two points give the sums between them.
        limits: limits of each rate, over all records so far.
        log10_capital: log10 of the capital of the monitor.
        series: limit of the series by code; empty before its first archive.
    """

    totals: dict[str, float]
    limits: dict[str, Interval]
    log10_capital: float
    series: dict[CodeName, LimitFigures]

    @classmethod
    def of(cls, accounts: Accounts) -> "RateFigures":
        """The figures of the accounts now. No rate has limits before the first token."""
        limits = {}
        for name, sequence in accounts.sequences.items():
            try:
                limits[name] = sequence.limits()
            except StatisticsError:
                continue
        return cls(
            totals=dict(accounts.totals),
            limits=limits,
            log10_capital=accounts.monitor.log_capital / math.log(10),
            series={
                code: LimitFigures(
                    limit=parts.limit,
                    rate=min(parts.rate, parts.limit),
                    records=accounts.limit.records,
                    tokens=accounts.limit.tokens,
                )
                for code in CODES
                if (parts := LimitParts.of(accounts.limit, code, CONFIDENCE)) is not None
            },
        )

    def since(self, name: str, before: "RateFigures | None") -> float | None:
        """A rate of the records since another point, or since the beginning; None without records."""
        units = "records" if name in PER_RECORD else "tokens"
        value, count = self.totals[name], self.totals[units]
        if before is not None:
            value, count = value - before.totals[name], count - before.totals[units]
        return value / count if count > 0 else None

    def to_json(self) -> str:
        """The figures in their stored form."""
        limits = {name: [one.value, one.low, one.high] for name, one in self.limits.items()}
        said: dict[str, Any] = {"totals": self.totals, "limits": limits, "log10_capital": self.log10_capital}
        said["series"] = {code: asdict(figures) for code, figures in self.series.items()}
        return json.dumps(said, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "RateFigures":
        """The figures from the stored form of `to_json`. Points of earlier versions have no limit of the series."""
        said = json.loads(text)
        return cls(
            totals=said["totals"],
            limits={name: Interval(*one) for name, one in said["limits"].items()},
            log10_capital=said["log10_capital"],
            series={code: LimitFigures(**one) for code, one in said.get("series", {}).items()},
        )


def add_point(connection: Connection, accounts: Accounts, at: float) -> None:
    """Store a point of the charts; none before the first token."""
    figures = RateFigures.of(accounts)
    if not figures.limits:
        return
    connection.execute(insert(RATE_POINT).values(at=at, figures=figures.to_json()))
    accounts.pointed = at
