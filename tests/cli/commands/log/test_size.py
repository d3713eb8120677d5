import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.test_run import invoke
from tests.logger.archive.examples import ENTRIES, KEY, ORIGIN
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sealing import seal
from weightwarden.logger.store.writer import LogWriter
from weightwarden.verifier.server.database.verdict_database import VerdictDatabase


@pytest.fixture
def files(tmp_path: Path) -> list[str | Path]:
    """The options for a log of 40 records, of which an archive holds 20, and for an empty verdict database."""
    with LogWriter.open(str(tmp_path / "log.db"), origin=ORIGIN) as writer:
        for at, entry in enumerate(ENTRIES):
            writer.append(entry, RequestStamp("r", at)).result(60)
            if at == 19:
                seal(str(tmp_path / "log.db"), str(tmp_path / "archives"), [KEY])
    (tmp_path / "log.pub").write_text(f"{KEY.verifier}\n")
    VerdictDatabase(str(tmp_path / "verdicts.db"))
    return [
        *("--log", tmp_path / "log.db", "--archives", tmp_path / "archives", "--public-key", tmp_path / "log.pub"),
        *("--database", tmp_path / "verdicts.db"),
    ]


def measured(*options: str | Path) -> dict[str, Any]:
    result = invoke("log", "size", *options, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    return {store["kind"]: store for store in report["stores"]}


def test_every_store_is_measured(files: list[str | Path], tmp_path: Path) -> None:
    stores = measured(*files)
    tokens = [len(decode_record(entry).output_token_ids) for entry in ENTRIES]
    assert [(kind, one["records"], one["output_tokens"]) for kind, one in stores.items()] == [
        ("log", 40, sum(tokens)),
        ("archives", 20, sum(tokens[:20])),
        ("companions", 20, sum(tokens[:20])),
        ("verdicts", 0, 0),
    ]
    [archive] = (tmp_path / "archives").glob("*.parquet")
    assert stores["archives"]["bytes_on_disk"] == archive.stat().st_size
    assert stores["archives"]["bytes_per_million_tokens"] == 1e6 * archive.stat().st_size / sum(tokens[:20])
    assert stores["log"]["bytes_a_day"] is None
    assert stores["verdicts"]["bytes_per_million_tokens"] is None


def test_growth_follows_traffic_and_retention(files: list[str | Path]) -> None:
    stores = measured(*files, "--output-tokens-per-day", "2e6")
    for kind in ("log", "archives", "companions"):
        assert stores[kind]["bytes_a_day"] == pytest.approx(2 * stores[kind]["bytes_per_million_tokens"])
        assert stores[kind]["bytes_after_a_year"] == pytest.approx(365.25 * stores[kind]["bytes_a_day"])
    assert stores["verdicts"]["bytes_a_day"] is None
    kept = measured(*files, "--output-tokens-per-day", "2e6", "--keep-sealed", "1", "--seal-every", "21600")
    assert kept["log"]["bytes_after_a_year"] == pytest.approx(0.5 * stores["log"]["bytes_a_day"])
    assert kept["archives"] == stores["archives"]


def test_the_table_names_what_changes_the_growth(files: list[str | Path]) -> None:
    output = invoke("log", "size", *files, "--output-tokens-per-day", "2e6").output
    assert "At 2,000,000 output tokens a day:" in output
    assert "all records stay; --keep-sealed removes sealed ones" in output
    assert "Of fewer than a million tokens" in output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "give --log, --archives or --database"),
        (["--archives", "archives"], "--public-key is required"),
        (["--log", "log.db", "--keep-sealed", "1"], "--keep-sealed requires --output-tokens-per-day"),
        (["--log", "log.db"], "there is no log here"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("log", "size", *options)
    assert result.exit_code == 2
    assert complaint in result.output
