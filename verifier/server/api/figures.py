"""Rates over time, bounds and margins."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Literal

from sqlalchemy import Connection, func, select

from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.scoring.margin_histogram import expected_at_most
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES
from weightwarden.verifier.server.accounting.accounts import CONFIDENCE
from weightwarden.verifier.server.accounting.current import current_accounts
from weightwarden.verifier.server.accounting.rate_points import RateFigures
from weightwarden.verifier.server.api.models import (
    Bound,
    Bounds,
    CapitalPoint,
    Channel,
    LimitPoint,
    MarginBin,
    Margins,
    RatePoint,
    Rates,
    RateSeries,
)
from weightwarden.verifier.server.api.status import conclusiveness_of, days_to_exfiltrate, finite, timing_of
from weightwarden.verifier.server.database.schema import RATE_POINT
from weightwarden.verifier.server.startup import ServerParts
from weightwarden.verifier.verification.series_monitor import WATCHED, honest_limits


def rates(server: ServerParts, connection: Connection, days: float, most_points: int) -> Rates:
    """The watched rates over the last days, in at most `most_points` points and the present state."""
    since = server.clock() - 86_400 * days
    in_time = RATE_POINT.c.at >= since
    count, last = connection.execute(select(func.count(), func.max(RATE_POINT.c.id)).where(in_time)).one()
    step = max(1, math.ceil(count / most_points))
    rows = connection.execute(
        select(RATE_POINT.c.at, RATE_POINT.c.figures)
        .where(in_time, (last - RATE_POINT.c.id) % step == 0)
        .order_by(RATE_POINT.c.at)
    ).all()
    points = [(row.at, RateFigures.from_json(row.figures)) for row in rows]
    now = RateFigures.of(current_accounts(connection))
    if now.limits and (not points or points[-1][1] != now):
        points.append((server.clock(), now))
    limits = honest_limits(server.policy)
    return Rates(
        confidence=CONFIDENCE,
        series=[_series(name, limits[name], points) for name in WATCHED],
        capital=[CapitalPoint(at=at, log10=figures.log10_capital) for at, figures in points],
        alarm_log10=-math.log10(server.settings.alarm_level),
        limit=[
            LimitPoint(at=at, limit=limit.limit, rate=limit.rate, records=limit.records, tokens=limit.tokens)
            for at, figures in points
            if (limit := figures.series.get(server.policy.leading_code)) is not None
        ],
        conclusive_limit=server.exposure.wanted,
    )


def _series(name: str, honest_at_most: float, points: Sequence[tuple[float, RateFigures]]) -> RateSeries:
    units: dict[str, Literal["share of tokens", "share of records", "bits a token", "a token"]] = {
        "pooled_bits": "bits a token",
        "outlying": "a token",
        "flagged": "share of records",
    }
    before: list[RateFigures | None] = [None, *(figures for _, figures in points)]
    return RateSeries(
        name=name,
        unit=units.get(name, "share of tokens"),
        honest_at_most=honest_at_most,
        points=[
            RatePoint(
                at=at,
                records=int(figures.totals["records"]),
                tokens=int(figures.totals["tokens"]),
                value=figures.limits[name].value,
                low=figures.limits[name].low,
                high=figures.limits[name].high,
                recent=figures.since(name, last),
            )
            for (at, figures), last in zip(points, before, strict=False)
            if name in figures.limits
        ],
    )


def bounds(server: ServerParts, connection: Connection) -> Bounds:
    """The bandwidth ledger."""
    exposure = server.exposure.read(connection, server.clock())
    found = exposure.estimate
    return Bounds(
        confidence=CONFIDENCE,
        conclusiveness=conclusiveness_of(exposure),
        statement=exposure.statement,
        timing=timing_of(exposure),
        bounds=[Bound(name=bound.name, **asdict(bound.parts)) for bound in exposure.bounds],
        entropy_bits_per_token=exposure.entropy_bits_per_token,
        channels=[]
        if found is None
        else [
            Channel(
                name=term.name,
                bits_per_day=term.bits_per_day,
                counted=term.counted,
                note="" if term.counted else "open, not in the sum: release answers at a pace",
            )
            for term in found.terms
        ],
        bits_per_day=None if found is None else found.bits_per_day,
        gambled_bits=None if found is None else finite(found.gamble.gambled_bits),
        weights_bytes=server.settings.weights_bytes,
        days_to_exfiltrate=days_to_exfiltrate(exposure),
        assumptions=exposure.assumptions,
    )


def margins(server: ServerParts, connection: Connection) -> Margins:
    """The margins of all audited tokens, beside the numbers that calibration allows."""
    accounts = current_accounts(connection)
    edges: list[tuple[float, float | None]] = [(0.0, 0.0), *pairwise(MARGIN_EDGES), (MARGIN_EDGES[-1], None)]
    tokens = int(accounts.margins_b.sum())
    expected: list[float | None] = [None] * len(edges)
    if isinstance(server.policy, Policy):
        noise = server.policy.token_noise
        at_most = expected_at_most(accounts.candidates_b, tokens, noise.upper_b, noise.outlier_upper)
        expected = [finite(float(value)) for value in at_most]
    return Margins(
        threshold=server.policy.tolerance.margin,
        tokens=tokens,
        bins=[
            MarginBin(low=low, high=high, observed=int(observed), expected_at_most=most)
            for (low, high), observed, most in zip(edges, accounts.margins_b, expected, strict=True)
        ],
    )
