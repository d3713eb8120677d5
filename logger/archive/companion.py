"""Companion of an archive: the stamps of its records, in a separate file that may be deleted.

It lies in the folder `requests` beside the archive and has the archive's name: a listing of archives does not show it,
and its folder can have other permissions and another lifetime. Deleting it breaks no proof and changes no archive.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.names import archive_name
from weightwarden.logger.archive.seal import SealError, blank_seal, open_seal, seal
from weightwarden.logger.archive.storage import exists, is_failure, make_folder, opened, publish
from weightwarden.logger.request_stamp import ALL_STAMPS, RequestStamp, StampQuery
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey

FORMAT = "weightwarden-requests/1"
FOLDER = "requests"
GROUP_ROWS = 65_536
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (("index", pa.int64()), ("time", pa.timestamp("ms", tz="UTC")), ("request_id", pa.string()))
    ]
)
Stamps = Iterable[tuple[int, RequestStamp]]
"""Index and stamp of records, in log order. Records without a stamp are left out."""


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A companion with a valid seal. Its rows are checked as they are read.

    Attributes:
        url: path or URL.
        origin: name of the log whose key sealed it.
        start: index of the archive's first record.
        end: index after the archive's last record.
        keys: keys with which it was opened.
    """

    url: str
    origin: str
    start: int
    end: int
    keys: PublicKeys

    def stamps(self, query: StampQuery = ALL_STAMPS) -> Iterator[tuple[int, RequestStamp]]:
        """Index and stamp of the records that have one and meet the query, in log order, in bounded memory.

        Raises:
            ArchiveUnreadable: the file can no longer be opened.
            ArchiveRefused: it was replaced, or its rows are no stamps.
        """
        last = self.start - 1
        with opened(self.url) as stream, _refused(self.url):
            open_seal(stream, FORMAT, self.keys)
            parquet = pq.ParquetFile(stream)
            for batch in parquet.iter_batches(GROUP_ROWS):
                indices = batch["index"].to_numpy()
                if not (np.diff(indices, prepend=last) > 0).all() or (len(indices) and indices[-1] >= self.end):
                    raise ArchiveRefused(self.url, f"its rows are not of records {self.start} to {self.end - 1}")
                last = int(indices[-1]) if len(indices) else last
                found = batch.filter(_meets(batch, query))
                times = found["time"].cast(pa.int64())
                columns: list[list[Any]] = [one.to_pylist() for one in (found["index"], times, found["request_id"])]
                for index, time, request_id in zip(*columns, strict=True):
                    yield index, RequestStamp(request_id, time)


def companion_url(archive: str) -> str:
    """The URL of an archive's companion, whether it exists or not."""
    folder, slash, name = archive.rpartition("/")
    return f"{folder}{slash}{FOLDER}/{name}"


def read_companion(archive: str, keys: PublicKeys) -> Companion | None:
    """The companion of the archive at a URL, or None if there is none.

    Raises:
        ArchiveUnreadable: it cannot be opened.
        ArchiveRefused: no known key sealed it, or it is the companion of another archive.
    """
    url = companion_url(archive)
    if not exists(url):
        return None
    with opened(url) as stream, _refused(url):
        origin = open_seal(stream, FORMAT, keys)
        parquet = pq.ParquetFile(stream)
        metadata = parquet.metadata.metadata or {}
        if not parquet.schema_arrow.equals(SCHEMA):
            raise ArchiveRefused(url, "its columns are not those of a companion")
        start, end = (int(metadata[b"weightwarden." + key]) for key in (b"start", b"end"))
    if archive_name(start, end) != url.rpartition("/")[2]:
        raise ArchiveRefused(url, f"it was renamed: it is of records {start} to {end - 1}")
    return Companion(url=url, origin=origin, start=start, end=end, keys=keys)


def write_companion(
    archive: str, stamps: Stamps, start: int, end: int, origin: str, signers: Sequence[SigningKey]
) -> None:
    """Write the companion of an archive, whole or not at all. Without stamps none is written.

    Args:
        archive: path or URL of the archive.
        stamps: stamps of its records.
        start: index of the archive's first record.
        end: index after the archive's last record.
        origin: the log's name.
        signers: keys of the seal.

    Raises:
        ArchiveUnreadable: it cannot be written; nothing of it remains.
    """
    rows = iter(stamps)
    first = list(islice(rows, GROUP_ROWS))
    if not first:
        return
    url = companion_url(archive)

    def write(stream: BinaryIO) -> None:
        with _parquet(stream) as parquet:
            group = first
            while group:
                parquet.write_batch(_to_batch(group))
                group = list(islice(rows, GROUP_ROWS))
            parquet.add_key_value_metadata(
                {
                    "weightwarden.format": FORMAT,
                    "weightwarden.start": str(start),
                    "weightwarden.end": str(end),
                    "weightwarden.seal": blank_seal(FORMAT, origin, signers),
                }
            )
        stream.flush()
        seal(stream, FORMAT, origin, signers)

    make_folder(url.rpartition("/")[0])
    publish(url, write)


def _parquet(stream: BinaryIO) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        stream,
        SCHEMA,
        compression="zstd",
        use_dictionary=["request_id"],  # type: ignore[arg-type]  # the stubs omit the list
        column_encoding={"index": "DELTA_BINARY_PACKED", "time": "DELTA_BINARY_PACKED"},
        write_statistics=False,
        store_schema=False,
    )


def _to_batch(stamps: Sequence[tuple[int, RequestStamp]]) -> pa.RecordBatch:
    columns: dict[str, Sequence[Any]] = {
        "index": [index for index, _ in stamps],
        "time": [stamp.time for _, stamp in stamps],
        "request_id": [stamp.request_id for _, stamp in stamps],
    }
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def _meets(batch: pa.RecordBatch, query: StampQuery) -> pa.BooleanArray:
    """One boolean a row: True if it meets the query."""
    indices, times = batch["index"].to_numpy(), batch["time"].cast(pa.int64()).to_numpy()
    met = np.ones(len(batch), bool)
    if query.indices is not None:
        met &= (indices >= query.indices.start) & (indices < query.indices.stop)
    if query.since is not None:
        met &= times >= query.since
    if query.until is not None:
        met &= times < query.until
    if query.request_ids is not None:
        met &= pc.is_in(batch["request_id"], pa.array(query.request_ids, pa.string())).to_numpy(zero_copy_only=False)
    return pa.array(met)


@contextmanager
def _refused(url: str) -> Iterator[None]:
    """Context that turns errors which a file's content causes into `ArchiveRefused`."""
    try:
        yield
    except ArchiveRefused:
        raise
    except SealError as error:
        raise ArchiveRefused(url, str(error)) from None
    except KeyError as error:
        raise ArchiveRefused(url, f"its footer lacks {error}") from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if is_failure(error):
            raise
        raise ArchiveRefused(url, f"its rows cannot be read: {error}") from None
