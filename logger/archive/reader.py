"""Reader of an archive: seal and checkpoint first, then records in bounded memory."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightwarden.logger.archive.columns import (
    OUTPUT_TOKENS,
    SCHEMAS,
    ArchiveContentError,
    RowEncoder,
    schema_difference,
)
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.seal import FORMAT, SealError, open_seal
from weightwarden.logger.archive.storage import is_failure, opened
from weightwarden.logger.tlog.checkpoint import Checkpoint, open_checkpoint
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.logger.tlog.merkle import Frontier
from weightwarden.text import printable

BATCH_ROWS = 4096
_FOOTER = {b"weightwarden." + name for name in (b"format", b"start", b"frontier", b"checkpoint", b"seal")}
"""Keys of the footer's metadata."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive with a valid seal and checkpoint. Its records are not checked yet.

    Attributes:
        url: path or URL.
        frontier: the tree before its first record.
        checkpoint: the log's signed statement about the tree after its last record.
        note: signed form of the checkpoint.
        keys: keys with which it was opened.
    """

    url: str
    frontier: Frontier
    checkpoint: Checkpoint
    note: bytes
    keys: PublicKeys

    @property
    def start(self) -> int:
        """Index of the first record."""
        return self.frontier.size

    @property
    def end(self) -> int:
        """Index after the last record."""
        return self.checkpoint.size

    def entries(self) -> Iterator[list[bytes]]:
        """The canonical bytes of all records in order, some thousands at a time.

        They are the file's present content. Only the root computed from them shows that they are the log's.

        Raises:
            ArchiveUnreadable: the archive can no longer be opened.
            ArchiveRefused: a row is no record, or their number differs from the checkpoint's.
        """
        at, encoder = self.start, RowEncoder()
        with opened(self.url) as stream:
            _sealed_by(self.url, stream, self.keys)
            try:
                parquet = pq.ParquetFile(stream)
                for group in range(parquet.num_row_groups):  # a batch over several would be too large
                    for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group]):
                        entries = list(encoder.encode(batch, at))
                        at += len(entries)
                        yield entries
            except _REFUSED as error:
                if is_failure(error):
                    raise
                raise ArchiveRefused(self.url, f"its rows cannot be read: {error}") from None
        if at != self.end:
            raise ArchiveRefused(self.url, f"it holds records {self.start} to {at}, its checkpoint says {self.end}")


def read_archive(url: str, keys: PublicKeys) -> Archive:
    """The archive at a URL, if a known key sealed it.

    Raises:
        ArchiveUnreadable: the archive cannot be opened.
        ArchiveRefused: seal, footer or checkpoint are invalid.
    """
    with opened(url) as stream:
        return _opened_archive(url, stream, keys)


def count_output_tokens(url: str, keys: PublicKeys) -> tuple[Archive, int]:
    """The archive at a URL, and the number of output tokens in it. The file is read once, in bounded memory.

    Raises:
        ArchiveUnreadable: the archive cannot be opened.
        ArchiveRefused: seal, footer or checkpoint are invalid, or the column of output tokens.
    """
    with opened(url) as stream:
        archive = _opened_archive(url, stream, keys)
        tokens = 0
        try:
            parquet = pq.ParquetFile(stream)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[OUTPUT_TOKENS]):
                tokens += pc.sum(pc.list_value_length(batch[OUTPUT_TOKENS])).as_py() or 0
        except _REFUSED as error:
            if is_failure(error):
                raise
            raise ArchiveRefused(url, f"its rows cannot be read: {error}") from None
    return archive, tokens


def output_lengths(url: str) -> list[int]:
    """Output tokens of each record in the file of an archive, whose seal is not checked.

    Raises:
        ArchiveUnreadable: the file cannot be opened.
        ArchiveRefused: the column of output tokens cannot be read.
    """
    lengths: list[int] = []
    with opened(url) as stream:
        try:
            parquet = pq.ParquetFile(stream)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=[OUTPUT_TOKENS]):
                lengths += pc.list_value_length(batch[OUTPUT_TOKENS]).to_pylist()
        except (KeyError, *_REFUSED) as error:
            if is_failure(error):
                raise
            raise ArchiveRefused(url, f"its rows cannot be read: {error}") from None
    return lengths


def _opened_archive(url: str, stream: BinaryIO, keys: PublicKeys) -> Archive:
    """The archive in an open file.

    1. Check the seal: from here on every byte is known to come from the key's holder.
    2. Read the footer, check the checkpoint's signature.
    """
    # 1
    origin = _sealed_by(url, stream, keys)
    # 2
    archive = _parsed(url, stream, keys)
    if archive.checkpoint.origin != origin:
        raise ArchiveRefused(url, "seal and checkpoint are of two logs")
    return archive


def _sealed_by(url: str, stream: BinaryIO, keys: PublicKeys) -> str:
    """The origin whose seal on the file is valid."""
    try:
        return open_seal(stream, FORMAT, keys)
    except SealError as error:
        raise ArchiveRefused(url, str(error)) from None


_REFUSED = (pa.ArrowException, ArchiveContentError, OSError, ValueError, OverflowError)
"""Exceptions that a file's content can cause in the Parquet reader."""


def _parsed(url: str, stream: BinaryIO, keys: PublicKeys) -> Archive:
    try:
        stream.seek(0)
        parquet = pq.ParquetFile(stream)
        metadata = parquet.metadata.metadata or {}
        if metadata.get(b"weightwarden.format") != FORMAT.encode():
            raise ArchiveRefused(url, f"not of the format {FORMAT}, the only one that is known here")
        if unknown := [key for key in metadata if key.startswith(b"weightwarden.") and key not in _FOOTER]:
            name = printable(unknown[0].decode("utf-8", "replace"))
            raise ArchiveRefused(url, f"{name} in its footer is not known here: a later version wrote it; upgrade")
        if parquet.schema_arrow not in SCHEMAS:
            raise ArchiveRefused(url, schema_difference(parquet.schema_arrow))
        start, frontier, note = (metadata[b"weightwarden." + key] for key in (b"start", b"frontier", b"checkpoint"))
        if not start.isdigit() or len(start) > 19 or str(int(start)).encode() != start:
            raise ArchiveRefused(url, "weightwarden.start: not a canonical number")
        hashes = base64.b64decode(frontier, validate=True)
        tree = Frontier.of(int(start), [hashes[i : i + 32] for i in range(0, len(hashes), 32)])
        checkpoint = open_checkpoint(note, keys)
    except ArchiveRefused:
        raise
    except KeyError as error:
        raise ArchiveRefused(url, f"its footer lacks {error}") from None
    except _REFUSED as error:
        if is_failure(error):
            raise
        raise ArchiveRefused(url, f"its footer: {error}") from None
    if checkpoint.size <= tree.size:
        raise ArchiveRefused(url, "its checkpoint is not beyond its start")
    return Archive(url=url, frontier=tree, checkpoint=checkpoint, note=note, keys=keys)
