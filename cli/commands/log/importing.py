"""The command `verify log import`, which makes a signed archive of traffic files."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from weightwarden.cli.options.shared import SIGNING_KEY_OPTION
from weightwarden.cli.progress import counter
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.storage import exists
from weightwarden.logger.archive.writer import write_archive
from weightwarden.logger.files.output import OutputError, check_writable
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import stream_traffic
from weightwarden.logger.tlog.auditor_key import require_log
from weightwarden.logger.tlog.checkpoint import Checkpoint, sign_checkpoint
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier


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
    digests: list[bytes] = []
    origin = signers[0].name

    def certify(size: int, root: bytes) -> bytes:
        mark = f"imported from {hashlib.sha256(b''.join(digests)).hexdigest()}"
        return sign_checkpoint(Checkpoint(origin, size, root, (mark,)), signers)

    with counter("Records imported") as progress:
        tree = write_archive(url, _entries(traffic, digests, progress), Frontier(), certify, origin, signers)
    click.echo(f"{url}: {tree.size} imported records of {origin}, root {tree.root().hex()}")


def _entries(traffic: Sequence[Path], digests: list[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    """The canonical bytes of the files' records, in bounded memory. Each file's SHA-256 is appended to `digests`."""
    for path in traffic:
        digest = hashlib.sha256()
        for placed in stream_traffic(path, digest.update):
            if placed.retokenised:
                raise RetokenisedRecord(
                    f"{placed.place}: re-tokenised from text; a log holds the token ids of the engine"
                )
            yield encode_record(placed.record)
            progress(1)
        digests.append(digest.digest())


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
