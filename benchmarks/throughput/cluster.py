"""Verification on a Ray of this machine: its speed beside one process with as many threads, and what the driver needs.

    python -m benchmarks.throughput.cluster [--out FOLDER] [--rounds 3] [--archives 1000] [TRAFFIC...]

Driver: a log of many small archives, written by the project's own writer with copied records, each verified from
archive to report. The workers' replayer computes next to nothing (`benchmarks.throughput.cheap_replayer`), so that
what is measured is the driver: its memory (resident) and its processor time, by hundreds of archives.

Speed: output tokens a second of the same records in the same work units, by one process with all cores as threads, by
one worker with as many, and by a worker a core with one thread each; in turns, medians over rounds. Starting workers
and loading the model are left out. Efficiency is the share of the one process's speed.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.environment import environment
from benchmarks.repository import BUNDLED_POLICY, FILTERED
from benchmarks.throughput.cheap_replayer import CheapReplayer
from weightwarden.cli.options.executor import load_on_worker
from weightwarden.cli.options.shared import ReplayOptions
from weightwarden.cli.reports.json import json_report
from weightwarden.cli.verify_and_report import verify_with_progress
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.output import write_text
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
"""Archives between two looks at the driver."""
SHORT = 16
"""Output tokens of a copied record, at most."""
UNIT_TOKENS = 8192


@dataclass(frozen=True)
class Look:
    """The driver after so many archives: resident memory, MiB, and seconds and processor seconds since the start."""

    archives: int
    memory: float
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Speed:
    """Output tokens a second of one way to replay, by round."""

    name: str
    rounds: list[float]

    @property
    def median(self) -> float:
        return float(np.median(self.rounds))


@click.command()
@click.argument("traffic", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for scale.json and scale.md.")
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
    found: dict[str, object] = {"environment": environment(), "cores": cores}
    text: list[str] = []
    with closing(Cluster.connect(None)):
        if archives:
            driver = driver_looks(policy, recorded, archives, archive_records, cores)
            found["driver"] = {name: _plain(value) for name, value in driver.items()}
            text += driver_table(driver, archive_records)
        if rounds:
            speeds = measured_speeds(policy, recorded[:records], token_budget, cores, rounds)
            found["speed"] = [asdict(speed) | {"median": speed.median} for speed in speeds]
            text += speed_table(speeds)
    shown = "\n".join(text)
    print(json.dumps(found, indent=1), shown, sep="\n\n")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "scale.json", json.dumps(found, indent=1) + "\n")
        write_text(out / "scale.md", shown + "\n")


def driver_looks(
    policy: BasePolicy, recorded: Sequence[Record], archives: int, each: int, workers: int
) -> dict[str, list[Look] | float]:
    """The driver over a log of many archives: by hundreds while records are replayed, and in all."""
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
        report = json_report(context)
        return {
            "looks": looks,
            "check_processor_seconds_per_archive_of_first": checks[min(STEP, archives)],
            "check_processor_seconds_per_archive_of_all": checks[archives],
            "seconds": total,
            "tokens": float(context.verification.tokens),
            "memory_after_report": resident(),
            "report_mib": len(report) / 2**20,
        }


def cheap(number: int, policy: BasePolicy, folder: Path) -> CheapReplayer:
    """A worker's replayer that computes next to nothing."""
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
    """A log of archives that hold the same records each."""
    tree, urls = Frontier(), []

    def certify(size: int, root: bytes) -> bytes:
        return sign_checkpoint(Checkpoint(key.name, size, root), [key])

    for number in range(archives):
        urls.append(str(folder / f"{number:06}.parquet"))
        tree = write_archive(urls[-1], entries, tree, certify, key.name, [key])
    return urls


def measured_speeds(
    policy: BasePolicy, records: Sequence[Record], token_budget: int, cores: int, rounds: int
) -> list[Speed]:
    """Output tokens a second of each way to replay, in turns."""
    replay = ReplayOptions(dtype=policy.made_for.dtype, device="cpu", token_budget=token_budget)
    load = partial(load_on_worker, replay=replay, policy=policy)

    def alone() -> Executor:
        torch.set_num_threads(cores)
        return Verifier(load_on_worker(0, replay, policy), policy)

    ways: dict[str, Callable[[], Executor]] = {f"one process, {cores} threads": alone}
    for workers in sorted({1, cores}):
        threads = cores // workers
        name = f"{workers} worker{'s' * (workers > 1)}, {threads} thread{'s' * (threads > 1)} each"
        ways[name] = partial(RayExecutor, load, policy, workers=workers)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        names = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for name in names:
            with closing(ways[name]()) as executor:
                executor.judge(records[:4])  # warm up
                found = verify(executor, records)
                speeds[name].append(found.tokens / found.total_seconds)
                print(f"round {turn}: {name}: {speeds[name][-1]:.1f} tokens/s", flush=True)
    return [Speed(name, rounds_) for name, rounds_ in speeds.items()]


def resident() -> float:
    """Resident memory of this process, MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def driver_table(found: dict[str, list[Look] | float], each: int) -> list[str]:
    looks = found["looks"]
    assert isinstance(looks, list)
    first, every = (_number(found, f"check_processor_seconds_per_archive_of_{which}") for which in ("first", "all"))
    lines = [
        f"Driver, {each} records an archive. The check of the log before: {1e3 * first:.2f} processor ms an archive"
        f" of the first {STEP}, {1e3 * every:.2f} of all. After the report of {_number(found, 'report_mib'):.1f} MiB:"
        f" {_number(found, 'memory_after_report'):.0f} MiB resident.",
        "",
        "| archives read | resident, MiB | seconds an archive | processor ms an archive |",
        "|---|---|---|---|",
    ]
    for before, now in pairwise(looks):
        step = max(now.archives - before.archives, 1)
        lines.append(
            f"| {now.archives} | {now.memory:.1f} | {(now.seconds - before.seconds) / step:.4f}"
            f" | {1e3 * (now.processor_seconds - before.processor_seconds) / step:.2f} |"
        )
    return [*lines, ""]


def speed_table(speeds: Sequence[Speed]) -> list[str]:
    lines = ["| replay | output tokens/s, median | slowest to fastest round | efficiency |", "|---|---|---|---|"]
    for speed in speeds:
        spread = f"{min(speed.rounds):.1f} to {max(speed.rounds):.1f}"
        lines.append(f"| {speed.name} | {speed.median:.1f} | {spread} | {speed.median / speeds[0].median:.3f} |")
    return [*lines, ""]


def _number(found: dict[str, list[Look] | float], name: str) -> float:
    value = found[name]
    assert isinstance(value, float)
    return value


def _plain(value: list[Look] | float) -> object:
    return [asdict(look) for look in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
