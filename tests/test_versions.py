"""Files of every earlier version are read; what a later version added is refused by name (docs/log.md, "Versions")."""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alembic import command
from sqlalchemy import Boolean, MetaData, insert

from tests.cli.commands.test_run import invoke
from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, archived, tree_of
from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import scripted_upstream
from tests.places import DATA
from tests.postgresql import new_database
from tests.verifier.server.running import Log, honest, server_in
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.errors import ArchiveRefused
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.seal import FORMAT, blank_seal, seal
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.database import DatabaseKind
from weightwarden.logger.errors import TrafficError
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import RecordEncodingError, decode_record, encode_record
from weightwarden.logger.formats.traffic_file import parse_line, read_traffic
from weightwarden.logger.sealing import seal as seal_log
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.server.database.usage import verdict_usage
from weightwarden.verifier.server.database.verdict_database import VERDICT_DATABASE, VerdictDatabase
from weightwarden.verifier.server.errors import VerdictsUnusable

FIRST = DATA / "versions" / "0.1"


def test_archives_of_version_0_1_hold_the_records_that_were_sealed() -> None:
    told: list[bytes] = []
    found = check_archives(
        archive_urls([str(FIRST / "archives")]),
        PublicKeys.read(FIRST / "log.key.pub"),
        keep=lambda archive, index, entry: told.append(entry),
    )
    assert found.holds
    assert told == ENTRIES[:20]


def test_an_imported_archive_of_version_0_1_holds_the_traffic() -> None:
    told: list[bytes] = []
    keys = PublicKeys.read(FIRST / "import.key.pub")
    assert check_archives([str(FIRST / "varied.parquet")], keys, keep=lambda _, at, entry: told.append(entry)).holds
    assert told == [encode_record(one.record) for one in read_traffic(DATA / "smollm2-vllm0.32-varied.jsonl")]


def in_postgresql(kind: DatabaseKind, file: Path, revision: str, url: str) -> str:
    """A SQLite database of an earlier version in an empty PostgreSQL database, with the tables of that version."""
    parsed = kind.parse_url(url)
    config, _ = kind._migrations()
    with kind.make_engine(parsed).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = MetaData()
        tables.reflect(connection)
        with sqlite3.connect(file) as old:
            old.row_factory = sqlite3.Row
            for table in tables.sorted_tables:
                flags = [column.name for column in table.columns if isinstance(column.type, Boolean)]
                rows = [dict(row) for row in old.execute(f'SELECT * FROM "{table.name}"')]
                rows = [row | {name: bool(row[name]) for name in flags} for row in rows]
                if rows and table.name != "alembic_version":
                    connection.execute(insert(table), rows)
                if rows and "id" in table.columns:  # the next row's id comes from a sequence
                    place = f"pg_get_serial_sequence('{table.name}', 'id')"
                    newest = max(row["id"] for row in rows)
                    connection.exec_driver_sql(f"SELECT setval({place}, {newest}) WHERE {place} IS NOT NULL")
        connection.commit()
    return url


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_log_of_version_0_1_goes_on_after_its_upgrade(
    tmp_path: Path, database: str, revision: str, request: pytest.FixtureRequest
) -> None:
    log = str(tmp_path / "log.db")
    shutil.copy(FIRST / f"log-{revision}.db", log)
    if database == "postgresql":
        log = in_postgresql(LOG_DATABASE, Path(log), revision, new_database(request.getfixturevalue("postgresql")))
    shutil.copytree(FIRST / "archives", tmp_path / "archives")
    with LogWriter.open(str(log), origin=ORIGIN) as writer:
        assert writer.tree == tree_of(ENTRIES[:25])
        drafts = [(draft.payload, draft.tokens) for draft in writer.drafts().values()]
        assert drafts == ([] if revision == "0001" else [(ENTRIES[30], b"\1\0\0\0\2\0\0\0")])
        assert writer.append(ENTRIES[25]).result(60) == 25
    reader = LogReader(str(log))
    assert list(reader.entries(0, 26)) == ENTRIES[:26]
    assert reader.starts() == ({1: b"n" * 32} if revision == "0003" else {})
    assert [seed.counter for seed in reader.open_seeds()] == ([7] if revision == "0003" else [])
    assert [(one.start, one.end) for one in seal_log(str(log), str(tmp_path / "archives"), [KEY])] == [(20, 26)]
    assert check_archives(archive_urls([str(tmp_path / "archives")]), KEYS).holds


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_a_sidecar_goes_on_with_a_log_of_version_0_1(tmp_path: Path, model_folder: Path, revision: str) -> None:
    """As docs/maintenance.md upgrades: a log from before marks gets one after the first start migrated its tables."""
    KEY.write(tmp_path / "key-of-0.1")
    shutil.copytree(FIRST / "archives", tmp_path / "archives")
    log, seen = tmp_path / "log.db", tmp_path / "seen.checkpoint"
    shutil.copy(FIRST / f"log-{revision}.db", log)
    seen.write_bytes(read_archive(str(tmp_path / "archives" / "000000000013-000000000020.parquet"), KEYS).note)
    with scripted_upstream() as upstream:
        settings = settings_in(
            tmp_path,
            model_folder,
            upstream.url,
            signing_keys=(tmp_path / "key-of-0.1",),
            archives=str(tmp_path / "archives"),
            keep_sealed=1,
        )
        with pytest.raises(KeyFileError, match="verify log mark"), opened(settings):
            pass
        options = ("--log", log, "--signing-key", tmp_path / "key-of-0.1")
        assert invoke("log", "mark", *options).exit_code == 0
        with running(settings) as sidecar:
            assert sidecar.complete([7], max_tokens=2).status_code == 200
    drafts = 0 if revision == "0001" else 1
    assert LogReader(str(log)).size() == 26 + drafts
    assert LogReader(str(log)).segment_start().size == 20
    check = ("log", "check", tmp_path / "archives", "--public-key", FIRST / "log.key.pub", "--seen", seen)
    checked = invoke(*check)
    assert checked.exit_code == 0, checked.output
    assert f"records 0 to {25 + drafts}" in checked.output


def test_verdicts_of_version_0_1_are_kept_by_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.db"
    path.write_bytes(gzip.decompress((FIRST / "verdicts-0001.db.gz").read_bytes()))
    with sqlite3.connect(path) as old:
        before = old.execute("SELECT position FROM verdict ORDER BY position").fetchall()
    VerdictDatabase(str(path))
    with sqlite3.connect(path) as new:
        assert new.execute("SELECT position FROM verdict ORDER BY position").fetchall() == before
        assert len(before) == 30


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_verification_server_goes_on_with_verdicts_of_version_0_1(
    tmp_path: Path, replayer: Replayer, database: str, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "verdicts.db"
    path.write_bytes(gzip.decompress((FIRST / "verdicts-0001.db.gz").read_bytes()))
    url = str(path)
    if database == "postgresql":
        url = in_postgresql(VERDICT_DATABASE, path, "0001", new_database(request.getfixturevalue("postgresql")))
    server = server_in(tmp_path, replayer, read_policy(FIRST / "calibrated.toml"), database=url)
    Log(tmp_path / "archives").seal(honest(2, tokens=4))
    server.settle()
    assert verdict_usage(url).records == 32


@pytest.mark.parametrize("name", ["calibrated", "exact"])
def test_policies_of_version_0_1_are_read(name: str) -> None:
    assert read_policy(FIRST / f"{name}.toml").exact == (name == "exact")


def newer_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")


def test_databases_of_a_later_version_are_refused_and_left_alone(tmp_path: Path) -> None:
    log, verdicts = tmp_path / "log.db", tmp_path / "verdicts.db"
    shutil.copy(FIRST / "log-0003.db", log)
    verdicts.write_bytes(gzip.decompress((FIRST / "verdicts-0001.db.gz").read_bytes()))
    for path in (log, verdicts):
        newer_tables(path)
    with pytest.raises(OSError, match=r"version 9999 of the log's tables is not known here: upgrade"):
        LogWriter.open(str(log), origin=ORIGIN)
    with pytest.raises(VerdictsUnusable, match="version 9999"):
        VerdictDatabase(str(verdicts))


def with_header(change: Callable[[dict[str, Any]], None]) -> bytes:
    header, _, tokens = ENTRIES[0].partition(b"\n")
    fields = json.loads(header)
    change(fields)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n" + tokens


def test_unknown_fields_of_a_record_are_refused_by_name() -> None:
    decode_record(with_header(lambda fields: None))
    with pytest.raises(RecordEncodingError, match="profile: unknown field"):
        decode_record(with_header(lambda fields: fields.update(profile="x")))
    with pytest.raises(RecordEncodingError, match=r"sampling\.min_q: unknown field"):
        decode_record(with_header(lambda fields: fields["sampling"].update(min_q=0.5)))
    with pytest.raises(RecordEncodingError, match="version: 3, written by a later version of weightwarden"):
        decode_record(with_header(lambda fields: fields.update(version=3)))


def test_unknown_fields_of_a_traffic_line_are_refused_by_name() -> None:
    fields = json.loads((DATA / "smollm2-vllm0.32-varied.jsonl").read_text().split("\n")[0]) | {"profile": "x"}
    with pytest.raises(TrafficError, match=r"t\.jsonl:7: profile: unknown field"):
        parse_line(json.dumps(fields).encode(), path=Path("t.jsonl"), line=7)


def test_unknown_fields_of_a_policy_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("novel = 1\n" + (FIRST / "calibrated.toml").read_text())
    with pytest.raises(PolicyError, match="novel: unknown field"):
        read_policy(path)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table], **footer: str) -> str:
    """An archive that the log's own key sealed, with other columns, or with more in its footer."""
    table = change(pq.read_table(archived(path, 0, 5)))
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    metadata |= {f"weightwarden.{key}": value for key, value in footer.items()}
    with pq.ParquetWriter(path, table.schema.remove_metadata(), store_schema=False) as parquet:
        parquet.write_table(table)
        parquet.add_key_value_metadata(metadata | {"weightwarden.seal": blank_seal(FORMAT, ORIGIN, [KEY])})
    with path.open("r+b") as stream:
        seal(stream, FORMAT, ORIGIN, [KEY])
    return str(path)


def test_unknown_columns_and_footers_of_an_archive_are_refused_by_name(tmp_path: Path) -> None:
    added = rewritten(tmp_path / "a.parquet", lambda table: table.append_column("profile", pa.nulls(5, pa.string())))
    with pytest.raises(ArchiveRefused, match="column profile is not known here"):
        read_archive(added, KEYS)
    dropped = rewritten(tmp_path / "b.parquet", lambda table: table.drop_columns(["top_k"]))
    with pytest.raises(ArchiveRefused, match="column top_k is missing"):
        read_archive(dropped, KEYS)
    footer = rewritten(tmp_path / "c.parquet", lambda table: table, profile="x")
    with pytest.raises(ArchiveRefused, match=r"weightwarden\.profile in its footer is not known here"):
        read_archive(footer, KEYS)


def test_an_archive_of_a_later_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("weightwarden.logger.archive.writer.FORMAT", "weightwarden-archive/2")
        url = archived(tmp_path / "later.parquet", 0, 5)
    with pytest.raises(ArchiveRefused, match="its format is weightwarden-archive/2"):
        read_archive(url, KEYS)
