"""Simulated coverage and width of the limits of all records (`verifier.statistics.total_limit`, `.poisson_rates`).

    python -m benchmarks.guarantees.limits --out FOLDER [--runs 1000] [--draws 20] [--seed 0]

Coverage: records of 1 to 1,000 tokens, attackers who fill the longest, the shortest, random records or a share of each;
audit rates of 1e-4 to 0.5 by records and by tokens; one draw (an empty one is refused), and series of draws that are
looked at after each. A limit is kept if it fails in at most its share of the runs, up to chance (one-sided binomial
test at 1 in 10,000). Widths: honest records, whose bits a token vary by gamma laws around those of recorded traffic,
beside the limits before and the least that can hold. By records and by tokens as many tokens are audited.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from pydantic import JsonValue
from scipy.optimize import brentq
from scipy.stats import binom

from benchmarks.guarantees.audited_records import (
    ATTACKERS,
    END_BITS,
    LOG2_VOCABULARY,
    drawn,
    most_bits,
    probabilities,
    sample_of,
    various_lengths,
)
from benchmarks.results.file import Results
from benchmarks.results.tables.limits import LIMITS, LimitsRow
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.poisson_rates import poisson_rate_limits
from weightwarden.verifier.statistics.rates import Population, rate_limits
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy, SamplingDesign
from weightwarden.verifier.statistics.total_limit import TotalLimit, UpperLimit, best_ratio, risk
from weightwarden.verifier.verification.series_limit import price_ratios

CONFIDENCE = 0.99
"""Confidence of the widths."""
LOOSE = 0.9
"""Confidence at which coverage is simulated, so that few runs show a limit that fails too often."""
AUDIT_RATES = ((1e-4, 3000), (1e-3, 2000), (0.01, 500), (0.1, 300), (0.5, 40))
"""Audit rates, and the number of records."""
SHARES = (0.003, 0.02, 0.1, 0.5)
"""Shares of the records, or of each record, that an attacker fills."""
SEEN = 0.068
"""Bits a token of honest records: filtered recorded traffic under the pooled code (docs/statistics.md)."""
AUDITED_SHARE = 0.01
"""Share of the output tokens that is audited for the widths."""
GRID = 8
"""Number of tilts that the limits before paid for."""
SERIES_LENGTH = 4096
"""Largest length for which a series has a price, tokens."""


@dataclass(frozen=True)
class Coverage:
    """Failures of one limit in one setting."""

    claim: str
    setting: str
    runs: int
    failures: int

    @property
    def kept(self) -> bool:
        """True if it failed no more often than is allowed, up to chance."""
        return self.failures <= int(binom.isf(1e-4, self.runs, 1 - LOOSE))


def coverage(runs: int, rng: np.random.Generator) -> Iterator[Coverage]:
    """Every limit in every setting."""
    for by in AUDIT_BY:
        for attacker in ATTACKERS:
            for rate, count in AUDIT_RATES:
                for share in SHARES:
                    setting = f"by {by}, {attacker}, share {share:g}, audit rate {rate:g}, {count} records"
                    yield Coverage("bits", setting, runs, _one_draw(by, attacker, rate, count, share, runs, rng))
            for share in SHARES:
                setting = f"by {by}, {attacker}, share {share:g}, 20 draws of 60 records"
                yield Coverage("bits, series", setting, runs // 4, _series(by, attacker, share, runs // 4, rng))
        for rate, count in AUDIT_RATES[1:]:
            for attacker in ("longest", "shortest", "random"):
                setting = f"by {by}, {attacker}, audit rate {rate:g}, {count} records"
                yield Coverage("rates, upper", setting, runs // 4, _rates(by, attacker, rate, count, runs // 4, rng))


def _one_draw(
    by: AuditBy, attacker: str, rate: float, count: int, share: float, runs: int, rng: np.random.Generator
) -> int:
    tokens_r = various_lengths(rng, count)
    bits_r, probability_r = ATTACKERS[attacker](rng, tokens_r, share), probabilities(by, rate, tokens_r)
    price = np.array([best_ratio(most_bits(tokens_r), probability_r, np.ones(count), LOOSE)])
    done = failures = 0
    while done < runs:
        sample = drawn(rng, bits_r, tokens_r, probability_r)
        if not len(sample.bits_r):
            continue
        total = TotalLimit.at_prices(price)
        total.add(sample)
        done += 1
        failures += int(total.limit(LOOSE, sample.log_missed).bits < bits_r.sum())
    return failures


def _series(by: AuditBy, attacker: str, share: float, runs: int, rng: np.random.Generator) -> int:
    """Audit rates rise and fall, and on some days records are longer than foreseen; a look after every draw."""
    foreseen, failures = np.array([300.0, 1000.0]), 0
    for _ in range(runs):
        total = TotalLimit.at_prices(most_bits(foreseen) / risk(probabilities(by, 0.02, foreseen)))
        truth, failed = 0.0, False
        for day in range(20):
            tokens_r = various_lengths(rng, 60) * (4 if day % 9 == 7 else 1)
            bits_r = ATTACKERS[attacker](rng, tokens_r, share)
            truth += bits_r.sum()
            total.add(drawn(rng, bits_r, tokens_r, probabilities(by, (0.05, 0.02, 0.3, 0.01)[day % 4], tokens_r)))
            failed |= bool(total.limit(LOOSE).bits < truth)
        failures += failed
    return failures


def _rates(by: AuditBy, attacker: str, rate: float, count: int, runs: int, rng: np.random.Generator) -> int:
    """Upper and lower limits of a rate at once, each with half of the error."""
    tokens_r = various_lengths(rng, count)
    bits_r = ATTACKERS[attacker](rng, tokens_r, 0.05)
    events_r = np.where(bits_r == most_bits(tokens_r), tokens_r, 0.0)
    probability_r = probabilities(by, rate, tokens_r)
    truth, done, failures = events_r.sum() / tokens_r.sum(), 0, 0
    while done < runs:
        at = rng.random(count) < probability_r
        if not at.any():
            continue
        done += 1
        found = poisson_rate_limits(
            events_r[at],
            tokens_r[at],
            probability_r[at],
            tokens=float(tokens_r.sum()),
            longest=float((tokens_r / probability_r)[probability_r < 1].max(initial=0.0)),
            confidence=LOOSE,
            log_missed=-float(risk(probability_r).sum()),
        )
        failures += int(not found.low - 1e-12 <= truth <= found.high + 1e-12)
    return failures


@dataclass(frozen=True)
class Traffic:
    """Records of one day.

    Attributes:
        name: their kind.
        records: their number.
        mean: mean length before the cap, tokens.
        cap: largest length; None where all have the mean length.
    """

    name: str
    records: int
    cap: int | None
    mean: float = 300.0

    def lengths(self, rng: np.random.Generator) -> FloatArray:
        """Lengths of a day's records: lognormal with sigma 1, cut at the cap, or all alike."""
        if self.cap is None:
            return np.full(self.records, self.mean)
        return np.ceil(np.minimum(np.exp(rng.normal(np.log(self.mean) - 0.5, 1.0, self.records)), self.cap))

    def bits(self, rng: np.random.Generator, tokens_r: FloatArray) -> FloatArray:
        """Bits of honest records: a gamma law with the mean `SEEN` a token, spread as by events of 8 bits each."""
        return rng.gamma(tokens_r * SEEN / 8.0, 8.0)


TRAFFIC = (
    (Traffic("100,000 chat-like answers", 100_000, 4096), 1),
    (Traffic("the same, at most 512 tokens", 100_000, 512), 1),
    (Traffic("100,000 answers of 300 tokens", 100_000, None), 1),
    (Traffic("10,000 chat-like answers", 10_000, 4096), 1),
    (Traffic("100,000 chat-like answers a day", 100_000, 4096), 30),
)


def width(traffic: Traffic, days: int, by: AuditBy, draws: int, rng: np.random.Generator) -> LimitsRow:
    """The limit of one day, or of a series of days, and what it is compared with."""
    design = SamplingDesign(_rate(by, traffic.lengths(np.random.default_rng(0))), by)
    runs = [_run(traffic, days, design, rng) for _ in range(draws)]
    middle = sorted(runs, key=lambda run: run.limit.bits_per_token)[draws // 2].limit
    return LimitsRow(
        traffic=traffic.name,
        days=days,
        audit_by=by,
        records=traffic.records * days,
        tokens=middle.tokens / 1e6,
        audited_share=float(np.mean([run.audited_share for run in runs])),
        seen=float(np.mean([run.seen for run in runs])),
        before=float(np.median([run.before for run in runs])) if by == "records" else None,
        limit=middle.bits_per_token,
        rate=middle.rate_bits / middle.tokens,
        stock_kilobytes=middle.stock_bits / 8e3,
        least=float(np.median([run.least for run in runs])),
    )


@dataclass(frozen=True)
class Run:
    """One simulated series of days; figures per output token."""

    limit: UpperLimit
    audited_share: float
    seen: float
    before: float
    least: float


def _run(traffic: Traffic, days: int, design: SamplingDesign, rng: np.random.Generator) -> Run:
    total: TotalLimit | None = None
    before = bits = 0.0
    spare, risks = [], []
    for _ in range(days):
        tokens_r = traffic.lengths(rng)
        bits_r, probability_r = traffic.bits(rng, tokens_r), design.probabilities(tokens_r)
        total = total or TotalLimit.at_prices(_prices(design, tokens_r, days))
        audited_r = rng.random(len(tokens_r)) < probability_r
        total.add(sample_of(audited_r, bits_r, tokens_r, probability_r))
        bits += float(bits_r.sum())
        if design.by == "records":
            before += _limit_before(bits_r[audited_r], tokens_r[audited_r], tokens_r)
        spare_r, risk_r = most_bits(tokens_r) - bits_r, risk(probability_r)
        best = np.argsort(-spare_r / risk_r)[:5000]
        spare.append(spare_r[best])
        risks.append(risk_r[best])
    assert total is not None
    return Run(
        total.limit(CONFIDENCE),
        total.audited_tokens / total.tokens,
        bits / total.tokens,
        before / total.tokens,
        (bits + _gamble(np.concatenate(spare), np.concatenate(risks))) / total.tokens,
    )


def _rate(by: AuditBy, tokens_r: FloatArray) -> float:
    """The audit rate at which `AUDITED_SHARE` of the tokens are audited, in the mean."""
    if by == "records":
        return AUDITED_SHARE

    def excess(rate: float) -> float:
        return float(probabilities(by, rate, tokens_r) @ tokens_r / tokens_r.sum()) - AUDITED_SHARE

    return float(brentq(excess, 1e-9, 1.0))


def _prices(design: SamplingDesign, tokens_r: FloatArray, days: int) -> FloatArray:
    """Those of `verify run` for one day, and for a series what is known before it begins."""
    if days == 1:
        probability_r = design.probabilities(tokens_r)
        return np.array([best_ratio(most_bits(tokens_r), probability_r, np.ones(len(tokens_r)), CONFIDENCE)])
    return price_ratios(LOG2_VOCABULARY, design, SERIES_LENGTH)


def _limit_before(bits_r: FloatArray, tokens_r: FloatArray, all_tokens_r: FloatArray) -> float:
    """The limit of a day's bits before: bets without replacement, an end as the tokens with the same largest charge.

    The tilt of the pooled code was chosen among `GRID` after the draw: each had its part of the error, and the choice
    was charged.
    """
    end = END_BITS / LOG2_VOCABULARY
    units = float(all_tokens_r.sum()) + end * len(all_tokens_r)
    found = rate_limits(
        bits_r,
        tokens_r + end,
        confidence=1 - (1 - CONFIDENCE) / GRID,
        side="upper",
        longest=float(all_tokens_r.max()) + end,
        most_per_token=LOG2_VOCABULARY,
        population=Population(records=len(all_tokens_r), tokens=units),
    )
    return found.high * units + float(np.log2(GRID))


def _gamble(spare_r: FloatArray, risk_r: FloatArray) -> float:
    """Bits that an attacker adds who fills records, those with the most for their risk first, and escapes in 1%."""
    order = np.argsort(-spare_r / risk_r)
    within = np.cumsum(risk_r[order]) <= -np.log(1 - CONFIDENCE)
    return float(spare_r[order][within].sum())


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for limits.json and limits.md.")
@click.option("--runs", type=click.IntRange(10), default=1000, show_default=True, help="Runs of a setting of coverage.")
@click.option("--draws", type=click.IntRange(1), default=20, show_default=True, help="Draws of a width.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(out: Path, runs: int, draws: int, seed: int) -> None:
    started = time.perf_counter()
    rows = []
    for number, (traffic, days) in enumerate(TRAFFIC):
        for by in AUDIT_BY:
            rows.append(width(traffic, days, by, draws, np.random.default_rng([seed, number])))
            click.echo(LIMITS.line(rows[-1]))
    found = []
    for one in coverage(runs, np.random.default_rng([seed, len(TRAFFIC)])):
        found.append(one)
        if not one.kept:
            click.echo(f"BROKEN: {one.claim}, {one.setting}: failed in {one.failures} of {one.runs}")
    broken = sum(not one.kept for one in found)
    click.echo(f"{len(found)} settings of coverage, {broken} broken; {time.perf_counter() - started:.0f} s")
    facts = {
        "coverage_settings": float(len(found)),
        "coverage_broken": float(broken),
        "coverage_allowed": 1 - LOOSE,
        "coverage_most_failures": max(one.failures / one.runs for one in found),
    }
    settings = {"runs": runs, "draws": draws, "seed": seed, "confidence": CONFIDENCE, "coverage_confidence": LOOSE}
    details: list[JsonValue] = [
        {"claim": one.claim, "setting": one.setting, "runs": one.runs, "failures": one.failures} for one in found
    ]
    LIMITS.write(out, "limits", Results[LimitsRow].measured(rows, settings, facts=facts, details=details))
    if broken:
        raise click.ClickException(f"{broken} limits fail more often than they may")


if __name__ == "__main__":
    main()
