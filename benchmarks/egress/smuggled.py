"""Real traffic with smuggled bytes, as the account of captures finds them.

The real traffic is that of `benchmarks.egress.real_link`. Each way to smuggle is injected into it by itself.

    python -m benchmarks.egress.smuggled --real FOLDER --out docs/results
"""

import json
import re
from pathlib import Path

import click

from benchmarks.egress.real_link import TRAFFIC
from benchmarks.egress.smuggling import CASES
from benchmarks.egress.wire import BEATING, SERVER, SIDECAR, Tcp, Wire, with_checksum
from benchmarks.results.file import Results
from benchmarks.results.tables.egress import EGRESS, EgressRow
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.captures import CaptureFile
from weightwarden.verifier.egress.frames import Event, Frame
from weightwarden.verifier.egress.logged_answers import Match, read_logged_answers
from weightwarden.verifier.egress.reporting import report_of

OTHER_ID = "another token id"
_TOKEN_ID = re.compile(rb'"token_ids": ?\[([0-9])[0-9]*\]')


def smuggled(events: list[Event], way: str) -> list[Event]:
    """The events of a capture with one way of smuggling, on a new connection after them."""
    last = max(event.time for event in events if isinstance(event, Frame))
    wire = Wire(now=last, step=0.0001)
    connection = Tcp(wire, 9_999)
    connection.models()
    CASES[way][0](wire, connection)
    connection.models()
    return [*events, *wire.frames]


def with_another_id(events: list[Event]) -> list[Event]:
    """The events of a capture with another token id in one response, under a right checksum."""
    frames = ((at, event) for at, event in enumerate(events) if isinstance(event, Frame))
    at, event, found = next((at, event, found) for at, event in frames if (found := _TOKEN_ID.search(event.data)))
    changed = bytearray(event.data)
    changed[found.start(1)] = ord("1") + (changed[found.start(1)] - ord("0")) % 9
    segment = bytes(changed[34:50]) + bytes(2) + bytes(changed[52:])
    data = bytes(changed[:34]) + with_checksum(SERVER, SIDECAR, 6, segment, 16)
    return [*events[:at], event._replace(data=data), *events[at + 1 :]]


def real_rows(folder: Path) -> list[EgressRow]:
    """The rows of the real traffic, without and with each way of smuggling."""
    keys = PublicKeys.read(folder / "log.key.pub")
    archives = archive_urls([str(folder / "archives")])
    with CaptureFile(folder / "link.pcapng") as capture:
        events = list(capture.events())
    ways: list[tuple[str | None, str | None, list[Event]]] = [
        (None, None, events),
        *((name, kind, smuggled(events, name)) for name, (_, kind) in CASES.items()),
        (OTHER_ID, Match.DIFFERS.value, with_another_id(events)),
    ]
    rows = []
    for way, kind, changed in ways:
        account = EgressAccount(BEATING, read_logged_answers(archives, keys))
        account.add(changed)
        account.finish()
        report = report_of(account)
        frames, size = report.total("unexplained")
        rows.append(
            EgressRow(
                smuggled=way,
                verdict=report.verdict,
                frames=report.frames,
                explained_share=report.total("explained")[0] / report.frames,
                unexplained_frames=frames,
                unexplained_bits=8 * size,
                found_as=kind if kind in {one.name for one in report.unexplained} else None,
            )
        )
    return rows


@click.command()
@click.option("--real", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the real traffic.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
def main(real: Path, out: Path) -> None:
    rows = real_rows(real)
    EGRESS.write(out, "egress", Results[EgressRow].measured(rows, json.loads((real / TRAFFIC).read_text())))
    print(EGRESS.markdown(rows))


if __name__ == "__main__":
    main()
