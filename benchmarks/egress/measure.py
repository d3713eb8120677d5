"""The account of captures, measured: speed and memory on synthetic traffic, and real traffic with smuggled bytes.

The real traffic is that of `benchmarks.egress.real_link`. Each way to smuggle is injected into it by itself.

    python -m benchmarks.egress.measure --real FOLDER [--frames 1000000] --out docs/results
"""

import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from benchmarks.egress.real_link import TRAFFIC
from benchmarks.egress.smuggling import CASES
from benchmarks.egress.synthetic import record, write_capture
from benchmarks.egress.wire import BEATING, LINK, Tcp, Wire, write_pcapng
from benchmarks.peak_memory import peak_bytes
from benchmarks.results.file import Results
from benchmarks.results.tables.egress import EGRESS, EgressRow
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.captures import CaptureFile
from weightwarden.verifier.egress.frames import Event, Frame
from weightwarden.verifier.egress.logged_answers import LoggedAnswers, read_logged_answers
from weightwarden.verifier.egress.report import EgressReport
from weightwarden.verifier.egress.reporting import report_of


def account_of_synthetic(path: Path, exchanges: int) -> tuple[EgressReport, float, int]:
    """The report about a synthetic capture, its processor seconds, and the peak memory of the process in bytes."""
    answers, data = LoggedAnswers(), record()
    for index in range(exchanges):
        answers.add(index, data)
    account = EgressAccount(LINK, answers)
    begun = time.process_time()
    with CaptureFile(path) as capture:
        account.add(capture.events())
    account.finish()
    return report_of(account), time.process_time() - begun, peak_bytes()


def synthetic_row(name: str, path: Path, exchanges: int) -> EgressRow:
    """The row of a synthetic capture, which a new process accounts for."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        report, seconds, peak = pool.submit(account_of_synthetic, path, exchanges).result()
    return _row(name, None, report, None, report.frames / seconds, peak / 1e6)


def smuggled(events: list[Event], way: str) -> list[Event]:
    """The events of a capture with one way of smuggling, on a new connection after them."""
    last = max(event.time for event in events if isinstance(event, Frame))
    wire = Wire(now=last, step=0.0001)
    connection = Tcp(wire, 9_999)
    connection.models()
    CASES[way][0](wire, connection)
    connection.models()
    return [*events, *wire.frames]


def real_rows(folder: Path) -> list[EgressRow]:
    """The rows of the real traffic, without and with each way of smuggling."""
    keys = PublicKeys.read(folder / "log.key.pub")
    archives = archive_urls([str(folder / "archives")])
    with CaptureFile(folder / "link.pcapng") as capture:
        events = list(capture.events())
    rows = []
    for way, kind in [(None, None), *((name, case[1]) for name, case in CASES.items())]:
        account = EgressAccount(BEATING, read_logged_answers(archives, keys))
        account.add(events if way is None else smuggled(events, way))
        account.finish()
        report = report_of(account)
        found = kind if kind in {one.name for one in report.unexplained} else None
        rows.append(_row("real traffic", way, report, found, None, None))
    return rows


def _row(
    name: str, way: str | None, report: EgressReport, found: str | None, speed: float | None, peak: float | None
) -> EgressRow:
    frames, size = report.total("unexplained")
    return EgressRow(
        capture=name,
        smuggled=way,
        frames=report.frames,
        explained_share=report.total("explained")[0] / report.frames,
        unexplained_frames=frames,
        unexplained_bits=8 * size,
        found_as=found,
        frames_per_second=speed,
        peak_megabytes=peak,
    )


@click.command()
@click.option("--real", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the real traffic.")
@click.option("--frames", default=1_000_000, show_default=True, help="Frames of the large synthetic capture.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def main(real: Path, frames: int, out: Path) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "capture"
        for count in (frames // 10, frames):
            exchanges = write_capture(path, count)
            rows.append(synthetic_row("synthetic, pcap", path, exchanges))
        exchanges = write_capture(path, frames // 10)
        with CaptureFile(path) as capture:
            write_pcapng(path.with_suffix(".pcapng"), [one for one in capture.events() if isinstance(one, Frame)])
        rows.append(synthetic_row("synthetic, pcapng", path.with_suffix(".pcapng"), exchanges))
    rows += real_rows(real)
    settings = {"frames": frames, **json.loads((real / TRAFFIC).read_text())}
    EGRESS.write(out, "egress", Results[EgressRow].measured(rows, settings))
    print(EGRESS.markdown(rows))


if __name__ == "__main__":
    main()
