"""The command `verify log verify-proof`, which verifies what `verify log prove` wrote."""

from pathlib import Path

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.shared import public_key_option
from weightwarden.errors import WeightwardenError
from weightwarden.logger.errors import TrafficError
from weightwarden.logger.formats.canonical import MAX_RECORD_BYTES, RecordEncodingError, decode_record, encode_record
from weightwarden.logger.formats.traffic_file import parse_line
from weightwarden.logger.tlog.inclusion import MAX_PROOF_BYTES, RecordProof
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import HASH_BYTES, leaf_hash
from weightwarden.logger.tlog.proofs import ProofError
from weightwarden.logger.tlog.signed_note import NoteError


class UnreadableProof(WeightwardenError, OSError):
    """A file with a proof or a record that cannot be read."""


class NoLeaf(WeightwardenError, ValueError):
    """Neither one record nor one leaf hash, whose proof could be verified."""


@click.command("verify-proof")
@click.argument("path", type=click.Path(path_type=Path), metavar="PROOF")
@public_key_option(required=True)
@click.option(
    "--record",
    "record_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the record: its canonical bytes, or one line of a traffic file (`verify log show --record`).",
)
@click.option("--leaf-hash", "leaf_hex", metavar="HEX", help="Leaf hash of the record, instead of the record.")
@click.pass_context
def verify_proof(
    ctx: click.Context, path: Path, public_key_path: Path, record_path: Path | None, leaf_hex: str | None
) -> None:
    """Verify that PROOF proves a record to be in the log: the path to the root, and the checkpoint's signature.

    Exit code 0: it does. 1: it does not, and the reason is printed. 2: error, and no result.
    """
    keys = PublicKeys.read(public_key_path)
    if (record_path is None) == (leaf_hex is None):
        raise click.UsageError("give one of --record and --leaf-hash")
    leaf = _leaf(leaf_hex) if record_path is None else leaf_hash(_entry(record_path))
    data = _read(path, MAX_PROOF_BYTES)
    try:
        proof = RecordProof.decode(data)
        checkpoint = proof.verify(leaf, keys)
    except (ProofError, NoteError) as error:
        click.echo(f"{path}: does NOT hold: {error}")
        ctx.exit(exit_codes.ALARM)
    click.echo(f"Holds: the record is record {proof.index} of {checkpoint.origin}.\n")
    click.echo(f"  leaf hash  {leaf.hex()}\n  root       {checkpoint.root.hex()} of {checkpoint.size}")
    for extension in checkpoint.extensions:
        click.echo(f"  note       {extension}")
    ctx.exit(exit_codes.CLEAR)


def _leaf(text: str | None) -> bytes:
    try:
        leaf = bytes.fromhex(text or "")
    except ValueError:
        leaf = b""
    if len(leaf) != HASH_BYTES:
        raise NoLeaf(f"--leaf-hash: not {2 * HASH_BYTES} hexadecimal digits")
    return leaf


def _entry(path: Path) -> bytes:
    """The canonical bytes of the record in a file, which holds these or one line of a traffic file."""
    data = _read(path, MAX_RECORD_BYTES)
    try:
        decode_record(data)
    except RecordEncodingError as error:
        if b"\n" in data.rstrip(b"\n"):
            raise NoLeaf(f"{path}: neither one line of a traffic file nor canonical bytes: {error}") from None
    else:
        return data
    placed = parse_line(data, path=path, line=1)
    if placed.retokenised:
        raise TrafficError("re-tokenised from text; a log holds the token ids of the engine", path=path, line=1)
    return encode_record(placed.record)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise UnreadableProof(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise UnreadableProof(f"{path}: more than {most} bytes")
    return data
