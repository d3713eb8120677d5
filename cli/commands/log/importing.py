"""The command `verify log import`, which makes a signed archive of traffic files."""

import hashlib
from pathlib import Path

import click

from weightwarden.cli.options.shared import SIGNING_KEY_OPTION
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.storage import exists
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.output import OutputError, check_writable
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.tlog.auditor_key import require_log
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.verifier.audit_selection import file_sha256


class RetokenisedRecord(WeightwardenError, ValueError):
    """A re-tokenised record, where the engine's token ids are required."""


@click.command("import")
@click.argument("traffic", nargs=-1, required=True, metavar="TRAFFIC...", type=click.Path(path_type=Path))
@SIGNING_KEY_OPTION
@click.option("--out", "url", required=True, metavar="ARCHIVE", help="Archive to write: a path or an fsspec URL.")
def import_traffic(traffic: tuple[Path, ...], signing_key_paths: tuple[Path, ...], url: str) -> None:
    """Sign TRAFFIC files into an archive of a separate log.

    The checkpoint is marked "imported". From then on every change is detected, but the files could have been changed
    before. A log has one history: each import needs a separate key, whose name's last part begins with "import", e.g.
    logs.example.org/import-2026-11.
    """
    signers = read_signers(signing_key_paths)
    if not signers[0].name.rsplit("/", 1)[-1].startswith("import"):
        raise KeyFileError(
            f"a key named {signers[0].name} would sign a second history of that log;"
            f" make one for this import: verify log key new {signers[0].name}/import-1"
        )
    if exists(url):
        raise OutputError(f"{url}: is there already; an archive is never overwritten")
    if "://" not in url:
        check_writable(Path(url))
    everything = [placed for path in traffic for placed in read_traffic(path)]
    for placed in everything:
        if placed.retokenised:
            raise RetokenisedRecord(f"{placed.place}: re-tokenised from text; a log holds the token ids of the engine")
    records = [placed.record for placed in everything]
    mark = f"imported from {hashlib.sha256(b''.join(map(file_sha256, traffic))).hexdigest()}"
    origin = signers[0].name

    def certify(size: int, root: bytes) -> bytes:
        return sign_checkpoint(Checkpoint(origin, size, root, (mark,)), signers)

    tree = write_archive(url, map(encode_record, records), Frontier(), certify, origin, signers)
    click.echo(f"{url}: {tree.size} imported records of {origin}, root {tree.root().hex()}")


def read_signers(paths: tuple[Path, ...]) -> list[SigningKey]:
    """Signing keys of one log.

    Raises:
        KeyFileError: a file holds no key, an auditor's key, or the keys are of two logs.
    """
    signers = [SigningKey.read(path) for path in paths]
    if len({key.name for key in signers}) > 1:
        raise KeyFileError(f"keys of different logs: {', '.join(sorted(key.name for key in signers))}")
    require_log(signers[0].name)
    return signers
