"""Speed and memory of the account of captures, on synthetic traffic.

python -m benchmarks.egress.speed [--frames 1000000] --out docs/results
"""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

from benchmarks.egress.synthetic import record, write_capture
from benchmarks.egress.wire import LINK, write_pcapng
from benchmarks.peak_memory import peak_bytes
from benchmarks.results.file import Results
from benchmarks.results.tables.egress_speed import EGRESS_SPEED, EgressSpeedRow
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.captures import CaptureFile
from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.logged_answers import LoggedAnswers
from weightwarden.verifier.egress.reporting import report_of


def measured(format_name: str, path: Path, exchanges: int) -> EgressSpeedRow:
    """The row of a synthetic capture, for which this process accounts."""
    answers, data = LoggedAnswers(), record()
    for index in range(exchanges):
        answers.add(index, data)
    account = EgressAccount(LINK, answers)
    begun = time.process_time()
    with CaptureFile(path) as capture:
        account.add(capture.events())
    account.finish()
    report = report_of(account)
    return EgressSpeedRow(
        format=format_name,
        frames=report.frames,
        megabytes=report.bytes / 1e6,
        tokens=report.exchanges.logged_tokens,
        explained_share=report.total("explained")[0] / report.frames,
        frames_per_second=report.frames / (time.process_time() - begun),
        peak_megabytes=peak_bytes() / 1e6,
    )


def in_new_process(format_name: str, path: Path, exchanges: int) -> EgressSpeedRow:
    """The row of a synthetic capture, for which a new process accounts."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, format_name, path, exchanges).result()


@click.command()
@click.option("--frames", default=1_000_000, show_default=True, help="Frames of the large capture.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def main(frames: int, out: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "capture"
        rows = [in_new_process("pcap", path, write_capture(path, count)) for count in (frames // 10, frames)]
        exchanges = write_capture(path, frames // 10)
        with CaptureFile(path) as capture:
            write_pcapng(path.with_suffix(".pcapng"), [one for one in capture.events() if isinstance(one, Frame)])
        rows.append(in_new_process("pcapng", path.with_suffix(".pcapng"), exchanges))
    EGRESS_SPEED.write(out, "egress-speed", Results[EgressSpeedRow].measured(rows, {"frames": frames}))
    print(EGRESS_SPEED.markdown(rows))


if __name__ == "__main__":
    main()
