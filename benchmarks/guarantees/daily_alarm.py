"""The daily alarm threshold: the largest pooled bound of all traffic that honest traffic shows.

    python -m benchmarks.guarantees.daily_alarm report.json [--records 1000000] [--alarm-level 1e-4]

From a report of `verify run` over honest traffic: the mean pooled bits a token, and the value that the mean of a day of
so many audited records like these exceeds with at most the stated probability (Bernstein's inequality, with the
variance of these records and a record's largest value; the honest mean taken as known, and at its 97.5% limit by record
clusters). An attacker who stays below has at most so many bits a token.
"""

from pathlib import Path

import click
import numpy as np

from weightwarden.cli.reports.reading import ReportError, read_report
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.statistics.intervals import clustered_mean


def bernstein_excess(
    bits_r: FloatArray, tokens_r: FloatArray, *, most_per_token: float, records: int, alarm_level: float
) -> float:
    """Bits a token by which the mean of a day's records exceeds its expectation, with probability `alarm_level`."""
    mean = bits_r.sum() / tokens_r.sum()
    variance = float(np.var(bits_r - mean * tokens_r, ddof=1))
    largest = most_per_token * float(tokens_r.max())
    nats = np.log(1 / alarm_level)
    per_record = np.sqrt(2 * variance * nats / records) + 2 * largest * nats / (3 * records)
    return float(per_record / tokens_r.mean())


@click.command(help=__doc__)
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--records", type=click.IntRange(1), default=1_000_000, show_default=True, help="Audited records a day.")
@click.option("--alarm-level", type=click.FloatRange(0, 1, min_open=True), default=1e-4, show_default=True)
def main(reports: tuple[Path, ...], records: int, alarm_level: float) -> None:
    click.echo(f"{records} audited records a day, false alarm {alarm_level:g}; pooled bits a token\n")
    click.echo(f"{'report':<40} {'mean':>8} {'97.5% limit':>12} {'alarm, mean known':>18} {'alarm, at its limit':>20}")
    for path in reports:
        try:
            statistics = read_report(path).statistics
        except ReportError as error:
            raise click.ClickException(str(error)) from None
        bits, tokens = (statistics.records.column(name) for name in ("pooled_bits", "tokens"))
        mean = clustered_mean(bits, tokens)
        excess = bernstein_excess(
            bits, tokens, most_per_token=statistics.log2_vocabulary, records=records, alarm_level=alarm_level
        )
        click.echo(
            f"{path.name:<40} {mean.value:>8.4f} {mean.high:>12.4f} {mean.value + excess:>18.4f}"
            f" {mean.high + excess:>20.4f}"
        )


if __name__ == "__main__":
    main()
