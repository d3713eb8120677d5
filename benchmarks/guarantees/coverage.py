"""Simulated coverage and width of every interval and alarm of the statistics.

    python -m benchmarks.guarantees.coverage [--runs 1000] [--seed 0]

Records of tokens that are independent, that depend strongly on each other, or that are all alike; rates down to 1e-4;
few records and many. A claim is kept if it fails in at most its share of the runs, up to chance (one-sided binomial
test at 1 in 1,000). Widths are medians, beside the exact interval's if one exists (independent tokens: Clopper and
Pearson over tokens; all alike: over records). Named baseline: the clustered interval, which is approximate.
"""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import click
import numpy as np
import scipy
from scipy.stats import binom

from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.e_process import RateEProcess
from weightwarden.verifier.statistics.intervals import (
    Interval,
    clopper_pearson,
    clustered_rate,
    hypergeometric_interval,
)
from weightwarden.verifier.statistics.rates import Population, RateSequence, rate_limits

Dependence = Literal["independent", "strong", "all alike"]
MAX_LENGTH = 128
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Setting:
    """Records to simulate."""

    dependence: Dependence
    records: int
    rate: float

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Events and tokens of each record; lengths vary by two, tokens of "strong" have correlation 0.2."""
        tokens = rng.integers(MAX_LENGTH // 2, MAX_LENGTH + 1, self.records)
        if self.dependence == "independent":
            events = rng.binomial(tokens, self.rate)
        elif self.dependence == "strong":
            events = rng.binomial(tokens, rng.beta(self.rate * 4, (1 - self.rate) * 4, self.records))
        else:
            events = tokens * (rng.random(self.records) < self.rate)
        return events.astype(np.float64), tokens.astype(np.float64)


SETTINGS = [
    Setting(dependence, records, rate)
    for dependence in ("independent", "strong", "all alike")
    for records, rate in ((20, 0.02), (100, 0.02), (1000, 0.02), (100, 1e-3), (1000, 1e-3), (1000, 1e-4), (5000, 1e-4))
]


@dataclass(frozen=True)
class Row:
    """Failures of a claim, and the width of its interval."""

    claim: str
    setting: Setting
    runs: int
    failures: int
    allowed_share: float | None
    width: float
    exact_width: float | None

    @property
    def kept(self) -> bool | None:
        """True if the claim is kept; None for an approximate claim."""
        if self.allowed_share is None:
            return None
        return self.failures <= int(binom.isf(1e-3, self.runs, self.allowed_share))


def rows(runs: int, seed: int) -> Iterator[Row]:
    """Every claim in every setting."""
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng([seed, number])
        drawn = [setting.draw(rng) for _ in range(runs)]
        exact = float(np.median([_width(_exact(setting, *records, CONFIDENCE)) for records in drawn]))
        upper = float(np.median([_exact(setting, *records, 2 * CONFIDENCE - 1).high for records in drawn]))
        for claim, allowed, interval in (
            ("limits, two-sided", 1 - CONFIDENCE, _two_sided),
            ("upper limit alone", 1 - CONFIDENCE, _upper),
            ("clustered interval (baseline)", None, clustered_rate),
        ):
            found = [interval(events, tokens) for events, tokens in drawn]
            failures = sum(not i.low <= setting.rate <= i.high for i in found)
            exact_width = None if setting.dependence == "strong" else upper if interval is _upper else exact
            yield Row(
                claim, setting, runs, failures, allowed, float(np.median([_width(i) for i in found])), exact_width
            )
        yield _sampled_population(setting, runs, rng)
        yield _monitor(setting, drawn)
        if setting.records <= 1000:
            yield _sequence(setting, drawn[: max(runs // 5, 1)])


def _two_sided(events_r: FloatArray, tokens_r: FloatArray) -> Interval:
    return rate_limits(events_r, tokens_r, confidence=CONFIDENCE, longest=MAX_LENGTH)


def _upper(events_r: FloatArray, tokens_r: FloatArray) -> Interval:
    return rate_limits(events_r, tokens_r, confidence=CONFIDENCE, longest=MAX_LENGTH, side="upper")


def _exact(setting: Setting, events_r: FloatArray, tokens_r: FloatArray, confidence: float) -> Interval:
    if setting.dependence == "all alike":
        return clopper_pearson(int((events_r > 0).sum()), len(tokens_r), confidence)
    return clopper_pearson(int(events_r.sum()), int(tokens_r.sum()), confidence)


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _sampled_population(setting: Setting, runs: int, rng: np.random.Generator) -> Row:
    """A third of a population of records, sampled without replacement."""
    events, tokens = setting.draw(rng)
    truth, sample = events.sum() / tokens.sum(), max(setting.records // 3, 2)
    population = Population(records=setting.records, tokens=float(tokens.sum()))
    failures, widths, exact = 0, [], []
    for _ in range(runs):
        at = rng.permutation(setting.records)[:sample]
        found = rate_limits(events[at], tokens[at], confidence=CONFIDENCE, longest=MAX_LENGTH, population=population)
        failures += not found.low - 1e-12 <= truth <= found.high + 1e-12
        widths.append(_width(found))
        if setting.dependence == "all alike":
            exact.append(
                _width(hypergeometric_interval(int((events[at] > 0).sum()), sample, setting.records, CONFIDENCE))
            )
    return Row(
        "a third of a population",
        setting,
        runs,
        failures,
        1 - CONFIDENCE,
        float(np.median(widths)),
        float(np.median(exact)) if exact else None,
    )


def _monitor(setting: Setting, drawn: list[tuple[FloatArray, FloatArray]]) -> Row:
    """Simulation of honest records in succession: true if the alarm ever comes, at any record."""
    alarms = 0
    for events, tokens in drawn:
        monitor = RateEProcess.new(honest_rate=setting.rate, weight_limits=[MAX_LENGTH])
        monitor.add(events, tokens)
        alarms += monitor.alarms_at(1 - CONFIDENCE)
    return Row("monitor, false alarms", setting, len(drawn), alarms, 1 - CONFIDENCE, float("nan"), None)


def _sequence(setting: Setting, drawn: list[tuple[FloatArray, FloatArray]]) -> Row:
    """Limits after every record at once."""
    failures, widths = 0, []
    for events, tokens in drawn:
        sequence = RateSequence(confidence=CONFIDENCE, longest=MAX_LENGTH)
        sequence.add(events, tokens)
        found = sequence.limits()
        failures += not found.low <= setting.rate <= found.high
        widths.append(_width(found))
    return Row("sequence, every record", setting, len(drawn), failures, 1 - CONFIDENCE, float(np.median(widths)), None)


def show(row: Row, echo: Callable[[str], None] = print) -> None:
    setting = row.setting
    verdict = {None: "approximate", True: "kept", False: "BROKEN"}[row.kept]
    exact = "" if row.exact_width is None else f"{row.width / row.exact_width:8.2f}"
    width = "" if np.isnan(row.width) else f"{row.width:.3g}"
    echo(
        f"{row.claim:<30} {setting.dependence:<12} {setting.records:>7} {setting.rate:>7g}"
        f" {100 * (1 - row.failures / row.runs):>7.1f}% {width:>9} {exact:>8}  {verdict}"
    )


@click.command(help=__doc__)
@click.option("--runs", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(runs: int, seed: int) -> None:
    started = time.perf_counter()
    click.echo(
        f"seed {seed}, {runs} runs (sequences: a fifth), confidence {CONFIDENCE:g};"
        f" {platform.processor() or platform.machine()},"
        f" Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}\n"
    )
    click.echo(f"{'claim':<30} {'tokens':<12} {'records':>7} {'rate':>7} {'holds in':>8} {'width':>9} {'of exact':>8}")
    broken = 0
    for row in rows(runs, seed):
        show(row, click.echo)
        broken += row.kept is False
    click.echo(f"\n{broken} claims broken; {time.perf_counter() - started:.0f} s")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
