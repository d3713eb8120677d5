"""Verification on a Ray of this machine: its speed beside one process with as many threads, and its driver's resources.

    python -m benchmarks.throughput.cluster [--out FOLDER] [--rounds 3] [--archives 1000] [TRAFFIC...]

Driver: a log of many small archives, written by the project's own writer with copied records, each verified from
archive to report. The workers' replayer has almost no computation (`benchmarks.throughput.cheap_replayer`), so that
only the driver is measured: its resident memory and its processor time, by hundreds of archives.

Speed: output tokens a second of the same records in the same work units, by one process with all cores as threads, by
one worker with as many, and by a worker a core with one thread each; in turns, medians over rounds. The start of
workers and the loading of the model are excluded. Efficiency is the share of the one process's speed.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.repository import BUNDLED_POLICY, FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.cluster import CLUSTER_DRIVER, CLUSTER_SPEED, ClusterDriverRow, ClusterSpeedRow
from benchmarks.throughput.cheap_replayer import CheapReplayer
from weightwarden.cli.options.executor import load_on_worker
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.cli.reports.identity import ReportIdentity
from weightwarden.cli.reports.json import json_report
from weightwarden.cli.verify_and_report import verify_with_progress
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.ray.cluster import Cluster
from weightwarden.verifier.verification.ray.executor import RayExecutor
from weightwarden.verifier.verification.run_input import from_archives
from weightwarden.verifier.verification.run_verdict import verify
from weightwarden.verifier.verification.verifier import Verifier

STEP = 100
"""Number of archives between two measurements of the driver."""
SHORT = 16
"""Largest number of output tokens of a copied record."""
UNIT_TOKENS = 8192


@dataclass(frozen=True)
class Look:
    """A measurement of the driver: archives so far, resident memory in MiB, seconds and processor seconds."""

    archives: int
    memory: float
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Driver:
    """The driver over a log.

    Attributes:
        looks: measurements by hundreds of archives.
        facts: the figures of the whole log.
    """

    looks: list[Look]
    facts: dict[str, float]


@click.command()
@click.argument("traffic", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for cluster-*.json and cluster-*.md."
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(0), help="0: no speed.")
@click.option("--records", default=110, show_default=True, help="Records of the traffic whose replay is timed.")
@click.option("--token-budget", default=1024, show_default=True, help="Tokens of a forward pass.")
@click.option("--archives", default=1000, show_default=True, type=click.IntRange(0), help="0: no driver.")
@click.option("--archive-records", default=64, show_default=True, help="Records of an archive.")
def main(
    traffic: tuple[Path, ...],
    out: Path | None,
    rounds: int,
    records: int,
    token_budget: int,
    archives: int,
    archive_records: int,
) -> None:
    policy = read_policy(BUNDLED_POLICY)
    recorded = [placed.record for path in traffic or (FILTERED,) for placed in read_traffic(path)]
    cores = len(os.sched_getaffinity(0))
    with closing(Cluster.connect(None)):
        if archives:
            driver = driver_looks(policy, recorded, archives, archive_records, cores)
            log = Results[ClusterDriverRow].measured(
                driver_rows(driver.looks),
                {"archives": archives, "records_per_archive": archive_records, "workers": cores},
                facts=driver.facts,
            )
            print(log.to_json(), CLUSTER_DRIVER.markdown(log.rows), sep="\n")
            if out is not None:
                CLUSTER_DRIVER.write(out, "cluster-driver", log)
        if rounds:
            timed = recorded[:records]
            speed = Results[ClusterSpeedRow].measured(
                measured_speeds(policy, timed, token_budget, cores, rounds),
                {"records": len(timed), "token_budget": token_budget, "rounds": rounds, "cores": cores},
            )
            print(speed.to_json(), CLUSTER_SPEED.markdown(speed.rows), sep="\n")
            if out is not None:
                CLUSTER_SPEED.write(out, "cluster-speed", speed)


def driver_looks(policy: BasePolicy, recorded: Sequence[Record], archives: int, each: int, workers: int) -> Driver:
    """The driver over a log of many archives: by hundreds during the replay of records, and in total."""
    entries = [encode_record(shortened(record)) for record in recorded[:each]]
    key = SigningKey("benchmark/scale", Ed25519PrivateKey.generate())
    load = partial(cheap, policy=policy, folder=ensure_embedded_model())
    with tempfile.TemporaryDirectory() as folder, closing(RayExecutor(load, policy, workers=workers)) as executor:
        urls = sealed(Path(folder), key, [entries[i % len(entries)] for i in range(each)], archives)
        keys = PublicKeys(key.verifier)
        checks = {}
        for count in (min(STEP, archives), archives):
            started = time.process_time()
            given = from_archives(urls[:count], keys, None)
            checks[count] = (time.process_time() - started) / count
        looks: list[Look] = []
        origin = time.perf_counter(), time.process_time()

        def look(archive: int) -> None:
            now = time.perf_counter() - origin[0], time.process_time() - origin[1]
            looks.append(Look(archive, resident(), *now))

        def watched(records: Iterator[Record]) -> Iterator[Record]:
            for at, record in enumerate(records):
                if at % (STEP * each) == 0:
                    look(at // each)
                yield record
            look(archives)

        reading = given.records
        object.__setattr__(given, "records", lambda: watched(reading()))
        context = verify_with_progress(executor, given)
        total = time.perf_counter() - origin[0]
        report = json_report(context, ReportIdentity.of())
        shares = [
            row.processor_ms_per_archive for row in driver_rows(looks) if row.processor_ms_per_archive is not None
        ]
        facts = {
            "check_processor_ms_per_archive_of_first": 1e3 * checks[min(STEP, archives)],
            "check_processor_ms_per_archive_of_all": 1e3 * checks[archives],
            "least_processor_ms_per_archive": min(shares),
            "most_processor_ms_per_archive": max(shares),
            "seconds": total,
            "tokens": float(context.verification.tokens),
            "resident_mib_after_report": resident(),
            "report_mib": len(report) / 2**20,
        }
        return Driver(looks, facts)


def cheap(number: int, policy: BasePolicy, folder: Path) -> CheapReplayer:
    """A worker's replayer with almost no computation."""
    return CheapReplayer(policy, folder, UNIT_TOKENS)


def shortened(record: Record) -> Record:
    """The record with few tokens, as if its limit had been lower."""
    fields = record.model_dump()
    fields["sampling"]["max_tokens"] = SHORT
    fields |= {"output_token_ids": record.output_token_ids[:SHORT]}
    if len(record.output_token_ids) > SHORT:
        fields |= {"finish_reason": "length", "stop_reason": None}
    return Record.model_validate(fields)


def sealed(folder: Path, key: SigningKey, entries: Sequence[bytes], archives: int) -> list[str]:
    """A log of archives with the same records each."""
    tree, urls = Frontier(), []

    def certify(size: int, root: bytes) -> bytes:
        return sign_checkpoint(Checkpoint(key.name, size, root), [key])

    for number in range(archives):
        urls.append(str(folder / f"{number:06}.parquet"))
        tree = write_archive(urls[-1], entries, tree, certify, key.name, [key])
    return urls


def measured_speeds(
    policy: BasePolicy, records: Sequence[Record], token_budget: int, cores: int, rounds: int
) -> list[ClusterSpeedRow]:
    """Output tokens a second of each way to replay, in turns."""
    replay = ReplayOptions(dtype=policy.made_for.dtype, device="cpu", token_budget=token_budget)
    load = partial(load_on_worker, replay=replay, policy=policy)

    def alone() -> Executor:
        torch.set_num_threads(cores)
        return Verifier(load_on_worker(0, replay, policy), policy)

    ways: dict[int | None, Callable[[], Executor]] = {None: alone}
    ways |= {workers: partial(RayExecutor, load, policy, workers=workers) for workers in sorted({1, cores})}
    speeds: dict[int | None, list[float]] = {workers: [] for workers in ways}
    for turn in range(rounds):
        order = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for workers in order:
            with closing(ways[workers]()) as executor:
                executor.judge(records[:4])  # warm up
                found = verify(executor, records)
                speeds[workers].append(found.tokens / found.total_seconds)
                said = "one process" if workers is None else f"Ray workers: {workers}"
                print(f"round {turn}: {said}: {speeds[workers][-1]:.1f} tokens/s", flush=True)
    return [
        ClusterSpeedRow(
            workers=workers,
            threads=cores if workers is None else cores // workers,
            tokens_per_second=float(np.median(by_round)),
            slowest_tokens_per_second=min(by_round),
            fastest_tokens_per_second=max(by_round),
            efficiency=float(np.median(by_round) / np.median(speeds[None])),
        )
        for workers, by_round in speeds.items()
    ]


def resident() -> float:
    """Resident memory of this process, MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def driver_rows(looks: Sequence[Look]) -> list[ClusterDriverRow]:
    """The driver by hundreds of archives."""
    return [
        ClusterDriverRow(
            archives=now.archives,
            resident_mib=now.memory,
            seconds_per_archive=(now.seconds - before.seconds) / (now.archives - before.archives),
            processor_ms_per_archive=1e3
            * (now.processor_seconds - before.processor_seconds)
            / (now.archives - before.archives),
        )
        for before, now in pairwise(looks)
        if now.archives > before.archives
    ]


if __name__ == "__main__":
    main()
