"""Writer of an archive: records become one sealed Parquet file."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import pyarrow.parquet as pq

from weightwarden.logger.archive.columns import SCHEMA, TOKEN_COLUMNS, ArchiveContentError, RowEncoder, to_batch
from weightwarden.logger.archive.seal import FORMAT, blank_seal, seal
from weightwarden.logger.archive.storage import publish
from weightwarden.logger.formats.canonical import RecordEncodingError, decode_record
from weightwarden.logger.record import Record
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.logger.tlog.merkle import Frontier, leaf_hash

GROUP_RECORDS = 16_384
GROUP_BYTES = 32 * 2**20
"""Encoded bytes at which a row group ends (or `GROUP_RECORDS` records): the part that a reader holds at once."""

Certify = Callable[[int, bytes], bytes]
"""Function that returns the signed checkpoint for a tree's size and root."""


def write_archive(
    url: str,
    entries: Iterable[bytes],
    start: Frontier,
    certify: Certify,
    origin: str,
    signers: Sequence[SigningKey],
) -> Frontier:
    """Write canonical records as an archive, and return the tree after them.

    1. Write the records in row groups, and append their leaves to the tree.
    2. Certify the tree's size and root. Put checkpoint and starting frontier into the footer.
    3. Seal the file, sync it, and give it its name.

    Args:
        url: path or URL of the archive.
        entries: canonical records, which follow `start`.
        start: the tree before them.
        certify: signs the checkpoint.
        origin: the log's name.
        signers: keys of the seal.

    Raises:
        ArchiveUnreadable: the archive cannot be written; nothing of it remains.
        ArchiveContentError: there are no records, or the columns do not reproduce their canonical bytes.
        RecordEncodingError: an entry is no canonical record.
    """
    tree = start.copy()

    def write(stream: BinaryIO) -> None:
        # 1
        with _parquet(stream) as parquet:
            encoder = RowEncoder()
            for group in _groups(entries, start.size):
                batch = to_batch(tree.size, [record for _, record in group])
                written = [entry for entry, _ in group]
                if list(encoder.encode(batch, tree.size)) != written:
                    raise ArchiveContentError(
                        f"records from {tree.size} on do not come out of their columns as they went in"
                    )
                parquet.write_batch(batch)
                tree.extend(map(leaf_hash, written))
            if tree.size == start.size:
                raise ArchiveContentError("an archive of no records")
            # 2
            parquet.add_key_value_metadata(
                {
                    "weightwarden.format": FORMAT,
                    "weightwarden.start": str(start.size),
                    "weightwarden.frontier": base64.b64encode(b"".join(start.hashes)).decode(),
                    "weightwarden.checkpoint": certify(tree.size, tree.root()).decode("utf-8"),
                    "weightwarden.seal": blank_seal(FORMAT, origin, signers),
                }
            )
        # 3
        stream.flush()
        seal(stream, FORMAT, origin, signers)

    publish(url, write)
    return tree


def _parquet(stream: BinaryIO) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        stream,
        SCHEMA,
        compression="zstd",
        compression_level=9,
        use_dictionary=[  # type: ignore[arg-type]  # the stubs omit the list
            name for name in SCHEMA.names if name not in (*TOKEN_COLUMNS, "index")
        ],
        column_encoding={
            "index": "DELTA_BINARY_PACKED",
            **{f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in TOKEN_COLUMNS},
        },
        write_statistics=False,
        store_schema=False,
    )


def _groups(entries: Iterable[bytes], start: int) -> Iterator[list[tuple[bytes, Record]]]:
    """Canonical bytes and records, a row group at a time."""
    group: list[tuple[bytes, Record]] = []
    size = 0
    for at, entry in enumerate(entries, start):
        try:
            group.append((entry, decode_record(entry)))
        except RecordEncodingError as error:
            raise RecordEncodingError(f"entry {at} is not a record: {error}") from None
        size += len(entry)
        if len(group) >= GROUP_RECORDS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
