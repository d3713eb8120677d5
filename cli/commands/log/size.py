"""The command `verify log size`, which measures log, archives, companions and verdicts, and their growth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.options.quantities import FiniteRange, Positive, count_text, size_text
from weightwarden.cli.options.shared import public_key_option
from weightwarden.cli.progress import counter
from weightwarden.logger.archive.companion import FOLDER
from weightwarden.logger.archive.storage import joined
from weightwarden.logger.archive.usage import FileUsage, folder_usage
from weightwarden.logger.database import shown
from weightwarden.logger.growth import Growth
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.usage import LogUsage, log_usage
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.server.database.usage import VerdictUsage, verdict_usage
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE

FORMAT = "weightwarden-log-size/1"
SECONDS_A_DAY = 86_400.0
SEAL_EVERY = 3600.0
"""The sidecar's default of seconds between archives."""
ENOUGH_TOKENS = 1_000_000
"""Output tokens from which on the fixed part of a file is small against its content."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """One store that was measured.

    Attributes:
        kind: "log", "archives", "companions" or "verdicts".
        place: path or URL.
        parts: bytes on disk by part.
        held: bytes of what it holds: without free space and the write-ahead log.
        free: bytes of free pages in a SQLite file.
        records: number of records that it holds.
        output_tokens: number of their output tokens.
        growth: its growth with the traffic, or None if no traffic is given, or it holds no token.
    """

    kind: str
    place: str
    parts: dict[str, int]
    held: int
    free: int
    records: int
    output_tokens: int
    growth: Growth | None = None

    @property
    def total(self) -> int:
        """Bytes on disk."""
        return sum(self.parts.values())

    @property
    def bytes_per_million_tokens(self) -> float | None:
        """Bytes for each million output tokens that it holds; None if it holds none."""
        return 1e6 * self.held / self.output_tokens if self.output_tokens else None


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Traffic and retention for which growth is computed.

    Attributes:
        tokens_a_day: output tokens a day.
        audit_rate: share of the tokens that is audited; None: as the verdict database has it.
        seal_every: seconds between archives.
        keep_sealed: `--keep-sealed` of the sidecar, or None.
        retain_days: `--retain-verdicts` of the verification server, or None.
    """

    tokens_a_day: float
    audit_rate: float | None
    seal_every: float
    keep_sealed: int | None
    retain_days: float | None

    def growth(self, kind: str, held: int, tokens: int, measured_rate: float | None = None) -> Growth | None:
        """The growth of a store that holds so many bytes and output tokens."""
        if not tokens:
            return None
        rate, kept = 1.0, None
        if kind == "log" and self.keep_sealed is not None:
            kept = (self.keep_sealed + 1) * self.seal_every / SECONDS_A_DAY  # the archives that stay, and what is new
        elif kind == "verdicts":
            rate = self.audit_rate if self.audit_rate is not None else (measured_rate or 0.0)
            kept = self.retain_days
        return Growth(bytes_per_token=held / tokens, tokens_a_day=rate * self.tokens_a_day, days_kept=kept)


@click.command()
@click.option("--log", "log_url", metavar="URL", help="Database of the log: a path (SQLite), or postgresql://...")
@click.option(
    "--archives",
    "folders",
    multiple=True,
    metavar="URL",
    help="Folder of archives and their companions: a path or fsspec URL. May be repeated.",
)
@public_key_option(required=False)
@click.option(
    "--database",
    "verdict_url",
    metavar="URL",
    help="Verdict database of `verify serve`: a path (SQLite), or postgresql://...",
)
@click.option(
    "--output-tokens-per-day",
    "tokens_a_day",
    type=Positive(),
    metavar="TOKENS",
    help="Output tokens a day, e.g. 2e9: the output adds bytes a day and after a year.",
)
@click.option(
    "--audit-rate",
    type=FiniteRange(0, 1, min_open=True),
    metavar="RATE",
    help="Share of the output tokens that will be audited. Default: as in the verdict database.",
)
@click.option(
    "--seal-every",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help="The sidecar's seconds between archives. Default: 3600.",
)
@click.option(
    "--keep-sealed",
    type=click.IntRange(0),
    metavar="ARCHIVES",
    help="The sidecar's number of archives whose records stay in the log's database. Default: all stay.",
)
@click.option(
    "--retain-verdicts",
    "retain_days",
    type=FiniteRange(0, min_open=True),
    metavar="DAYS",
    help="Days that the verification server keeps verdicts. Default: for ever.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table. Field names contain the units.")
def size(
    log_url: str | None,
    folders: tuple[str, ...],
    public_key_path: Path | None,
    verdict_url: str | None,
    tokens_a_day: float | None,
    audit_rate: float | None,
    seal_every: float | None,
    keep_sealed: int | None,
    retain_days: float | None,
    as_json: bool,
) -> None:
    """Measure log, archives, companions and verdicts: bytes on disk, and bytes for a million output tokens.

    Nothing is written, and writers may be running. Tokens are counted in the headers of the log's records, in the
    sealed archives (every seal is checked, so each file is read whole), and in the rows of verdicts, which hold the
    audited records alone.
    """
    if log_url is None and not folders and verdict_url is None:
        raise click.UsageError("give --log, --archives or --database, or several")
    if folders and public_key_path is None:
        raise click.UsageError("--public-key is required to check the seals of archives")
    given = (
        ("--audit-rate", audit_rate),
        ("--seal-every", seal_every),
        ("--keep-sealed", keep_sealed),
        ("--retain-verdicts", retain_days),
    )
    if tokens_a_day is None and (extra := [name for name, value in given if value is not None]):
        raise click.UsageError(f"{extra[0]} requires --output-tokens-per-day")
    projection = (
        None
        if tokens_a_day is None
        else Projection(
            tokens_a_day=tokens_a_day,
            audit_rate=audit_rate,
            seal_every=SEAL_EVERY if seal_every is None else seal_every,
            keep_sealed=keep_sealed,
            retain_days=retain_days,
        )
    )
    stores = _measured(log_url, folders, public_key_path, verdict_url, projection)
    click.echo(_as_json(stores, projection) if as_json else _as_text(stores, projection))


def _measured(
    log_url: str | None,
    folders: Sequence[str],
    public_key_path: Path | None,
    verdict_url: str | None,
    projection: Projection | None,
) -> list[Store]:
    """All stores, in the order of the options."""
    stores: list[Store] = []

    def add(kind: str, place: str, found: dict[str, Any], measured_rate: float | None = None) -> None:
        growth = None
        if projection is not None:
            growth = projection.growth(kind, found["held"], found["output_tokens"], measured_rate)
        stores.append(Store(kind=kind, place=place, growth=growth, **found))

    if log_url is not None:
        with counter("Records of the log") as progress:
            log = log_usage(log_url, progress)
        add("log", shown(LOG_DATABASE.parse_url(log_url)), _of_database(log))
    for folder in folders:
        assert public_key_path is not None
        with counter("Archives") as progress:
            usage = folder_usage(folder, PublicKeys.read(public_key_path), progress)
        add("archives", printable(folder), _of_files(usage.archives))
        add("companions", printable(joined(folder, FOLDER)), _of_files(usage.companions))
    if verdict_url is not None:
        with counter("Verdicts") as progress:
            verdicts = verdict_usage(verdict_url, progress)
        place = shown(VERDICT_DATABASE.parse_url(verdict_url))
        add("verdicts", place, _of_database(verdicts), verdicts.audited_share)
    return stores


def _of_database(usage: LogUsage | VerdictUsage) -> dict[str, Any]:
    disk = usage.disk
    return {
        "parts": disk.parts,
        "held": disk.held,
        "free": disk.free,
        "records": usage.records,
        "output_tokens": usage.output_tokens,
    }


def _of_files(usage: FileUsage) -> dict[str, Any]:
    return {
        "parts": {"files": usage.file_bytes},
        "held": usage.file_bytes,
        "free": 0,
        "records": usage.records,
        "output_tokens": usage.output_tokens,
    }


def _as_text(stores: Sequence[Store], projection: Projection | None) -> str:
    width = max(len(_label(store)) for store in stores)
    lines = [f"{'':<{width}}  {'on disk':>9}  {'records':>12}  {'output tokens':>16}  {'for a million tokens':>20}"]
    for store in stores:
        figure = store.bytes_per_million_tokens
        lines.append(
            f"{_label(store):<{width}}  {size_text(store.total):>9}  {store.records:>12,}  {store.output_tokens:>16,}"
            f"  {'-' if figure is None else size_text(figure):>20}"
        )
    lines += ["", *(note for store in stores for note in _parts(store))]
    if any(0 < store.output_tokens < ENOUGH_TOKENS for store in stores):
        lines.append("Of fewer than a million tokens, the fixed part of a file makes the last column too large.")
    if projection is not None:
        lines += ["", f"At {count_text(projection.tokens_a_day)} output tokens a day:", ""]
        lines.append(f"{'':<{width}}  {'a day':>9}  {'after a year':>12}")
        lines += [
            f"{_label(store):<{width}}  {size_text(growth.bytes_a_day):>9}  {size_text(growth.bytes_after_a_year):>12}"
            f"  {_retention(store, projection)}"
            for store in stores
            if (growth := store.growth) is not None
        ]
    return "\n".join(lines)


def _label(store: Store) -> str:
    return f"{store.kind:<10}  {store.place}"


def _parts(store: Store) -> list[str]:
    """Sentence about the parts of a database on disk; none for files."""
    if store.kind not in ("log", "verdicts"):
        return []
    parts = ", ".join(f"{name} {size_text(count)}" for name, count in store.parts.items() if count)
    free = f"; {size_text(store.free)} of the file are free pages, which are used again" if store.free else ""
    return [f"{store.kind}: {parts}{free}."]


def _retention(store: Store, projection: Projection) -> str:
    """Retention of a store's content, and the option that changes it."""
    if store.kind == "log":
        if projection.keep_sealed is None:
            return "all records stay; --keep-sealed removes sealed ones"
        return f"with --keep-sealed {projection.keep_sealed} and an archive every {projection.seal_every:g} s"
    if store.kind == "archives":
        return "all stay here; `verify log move` moves older ones to another store"
    if store.kind == "companions":
        return "may be deleted at any time"
    if projection.retain_days is None:
        return "all verdicts stay; --retain-verdicts removes older ones"
    return f"with --retain-verdicts {projection.retain_days:g}"


def _as_json(stores: Sequence[Store], projection: Projection | None) -> str:
    report: dict[str, Any] = {"format": FORMAT, "stores": [_store_fields(store) for store in stores]}
    if projection is not None:
        report["output_tokens_per_day"] = projection.tokens_a_day
    return json.dumps(report, indent=2)


def _store_fields(store: Store) -> dict[str, Any]:
    return {
        "kind": store.kind,
        "place": store.place,
        "bytes_on_disk": store.total,
        "bytes_by_part": store.parts,
        "bytes_held": store.held,
        "bytes_free": store.free,
        "records": store.records,
        "output_tokens": store.output_tokens,
        "bytes_per_million_tokens": store.bytes_per_million_tokens,
        "days_kept": store.growth and store.growth.days_kept,
        "bytes_a_day": store.growth and store.growth.bytes_a_day,
        "bytes_after_a_year": store.growth and store.growth.bytes_after_a_year,
    }
