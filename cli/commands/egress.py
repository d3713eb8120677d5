"""The command `verify egress`, which accounts for captures of the link between inference server and sidecar."""

from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.shared import public_key_option
from weightwarden.cli.progress import counter
from weightwarden.cli.reports.egress import egress_summary
from weightwarden.extras import needs_extra
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.egress.link import Endpoint, Heartbeat, Link, packed_address


@click.command()
@click.argument("captures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CAPTURE...")
@click.option(
    "--log",
    "archives",
    multiple=True,
    required=True,
    metavar="ARCHIVE",
    help="Archive of the sidecar's log, folder of archives, or fsspec URL. Repeatable.",
)
@public_key_option(required=True)
@click.option(
    "--sidecar",
    "sidecars",
    multiple=True,
    required=True,
    metavar="ADDRESS",
    help="Numeric address of the sidecar's host on the link. Repeatable.",
)
@click.option(
    "--inference-server",
    "servers",
    multiple=True,
    required=True,
    metavar="ADDRESS:PORT",
    help="Numeric address and port of an inference server. Repeatable.",
)
@click.option(
    "--inference-host",
    "others",
    multiple=True,
    metavar="ADDRESS",
    help="Further address of an inference server's host, such as its link-local one. Repeatable.",
)
@click.option(
    "--heartbeat",
    metavar="ADDRESS:PORT/SECONDS",
    help="Heartbeats that the sidecar's host sends: their target, and the seconds between two.",
)
@click.option(
    "--checksums-offloaded",
    is_flag=True,
    help="Do not compare checksums: the captures are from a host whose network card fills them in.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write a JSON report to this file; - for standard output, instead of the summary.",
)
@click.pass_context
def egress(
    ctx: click.Context,
    captures: tuple[Path, ...],
    archives: tuple[str, ...],
    public_key_path: Path,
    sidecars: tuple[str, ...],
    servers: tuple[str, ...],
    others: tuple[str, ...],
    heartbeat: str | None,
    checksums_offloaded: bool,
    json_path: Path | None,
) -> None:
    """Account for all that passed the link between an inference server and the sidecar, frame by frame.

    CAPTURE is a pcap or pcapng file of Ethernet frames, also with gzip, also one that is still being written. Several
    are read in the order of time. Each exchange of the sidecar is compared with a record of the log by its prompt and
    output ids. What is left is unexplained.

    Exit code 0: clear. 1: unexplained frames, or findings, which are listed. 2: error, and no result.
    """
    to_file = json_path if json_path is not None and str(json_path) != "-" else None
    check_writable(to_file)
    link = Link(
        sidecars=frozenset(packed_address(text) for text in sidecars),
        servers=frozenset(Endpoint.parse(text) for text in servers),
        others=frozenset(packed_address(text) for text in others),
        heartbeat=None if heartbeat is None else Heartbeat.parse(heartbeat),
        checks_checksums=not checksums_offloaded,
    )
    keys = PublicKeys.read(public_key_path)
    with needs_extra("egress"):
        from weightwarden.verifier.egress.run import account_for
    with counter("Records of the log checked") as records, counter("Frames") as frames:
        report = account_for(captures, archive_urls(archives), keys, link, records=records, frames=frames)
    text = report.model_dump_json(indent=2) + "\n"
    if to_file is not None:
        write_text(to_file, text)
    click.echo(text.rstrip() if json_path is not None and to_file is None else egress_summary(report))
    ctx.exit(exit_codes.CLEAR if report.verdict == "clear" else exit_codes.ALARM)
