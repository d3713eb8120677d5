import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands.log.test_log import ORIGIN, Logs
from tests.cli.commands.test_run import invoke
from tests.logger.sidecar.running import running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, event
from tests.logger.store.examples import raw_sql
from tests.places import BUNDLED_POLICY, ROOT
from tests.recorded import GREEDY, records_of
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.writer import LogWriter

NOON = 1_767_268_800_000
"""2026-01-01T12:00:00Z."""


def append(logs: Logs, count: int) -> None:
    """Records of requests `req-0`, `req-1` and so on, two of each, one a minute from noon on."""
    with LogWriter.open(str(logs.log), origin=ORIGIN) as writer:
        for at in range(writer.size, writer.size + count):
            stamp = RequestStamp(f"req-{at // 2}", NOON + 60_000 * at)
            writer.append(encode_record(records_of(GREEDY)[at]), stamp).result(60)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    """Records 0 to 3 and 4 to 6 sealed, 7 and 8 not."""
    made = Logs(tmp_path)
    for count in (4, 3):
        append(made, count)
        made.seal()
    append(made, 2)
    return made


def found(logs: Logs, *arguments: str | Path | int, expect: int = 0) -> list[int]:
    """The indices that a search in archives and database finds."""
    result = invoke("log", "find", logs.archives, "--public-key", logs.public, "--log", logs.log, "--json", *arguments)
    assert result.exit_code == expect, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["request_id"] == f"req-{line['record_index'] // 2}" for line in lines)
    return [line["record_index"] for line in lines]


def test_records_are_found_by_request_index_and_time_and_by_all_of_them(logs: Logs) -> None:
    assert found(logs, "--request-id", "req-1") == [2, 3]
    assert found(logs, "--request-id", "req-3") == [6, 7]
    assert found(logs, "--request-id", "chatcmpl-req-1") == found(logs, "--request-id", "cmpl-req-1") == [2, 3]
    assert found(logs, "--index", 5) == [5]
    assert found(logs, "--index", 8) == [8]
    assert found(logs, "--time", "2026-01-01T12:06Z") == [6, 7, 8]
    assert found(logs, "--time", "2026-01-01T12:01Z/2026-01-01T12:03Z") == [1, 2]
    assert found(logs, "--time", "2026-01-01T13:01+01:00/90s") == [1, 2]
    assert found(logs, "--time", "2026-01-01/1d") == list(range(9))
    assert found(logs, "--time", "2026-01-01T12:07/5m", "--request-id", "req-3") == [7]
    for nothing in (
        ("--request-id", "req-9"),
        ("--index", 9),
        ("--time", "2026-01-02"),
        ("--index", 2, "--request-id", "req-0"),
    ):
        assert found(logs, *nothing, expect=1) == []


def test_a_line_has_index_time_request_and_archive(logs: Logs) -> None:
    result = invoke(
        "log", "find", logs.archives, "--public-key", logs.public, "--log", logs.log, "--request-id", "req-3"
    )
    archive = logs.archives / "000000000004-000000000007.parquet"
    assert [line.split("  ") for line in result.stdout.splitlines()] == [
        ["record 6", "2026-01-01T12:06:00.000Z", "req-3", str(archive)],
        ["record 7", "2026-01-01T12:07:00.000Z", "req-3", "not sealed"],
    ]
    [line] = invoke("log", "find", "--log", logs.log, "--index", 6, "--json").stdout.splitlines()
    assert json.loads(line) == {
        "log": ORIGIN,
        "record_index": 6,
        "time": "2026-01-01T12:06:00.000Z",
        "request_id": "req-3",
        "archive": str(archive),
    }


def test_one_place_is_enough(logs: Logs) -> None:
    only_archive = ("log", "find", logs.archives / "000000000000-000000000004.parquet", "--public-key", logs.public)
    assert invoke(*only_archive, "--request-id", "req-1").exit_code == 0
    assert invoke(*only_archive, "--request-id", "req-2").exit_code == 1
    shutil.rmtree(logs.archives / "requests")
    assert found(logs, "--request-id", "req-1") == [2, 3]
    result = invoke(*only_archive, "--request-id", "req-1")
    assert result.exit_code == 1
    assert "1 of the archives have no companion" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--time", "noon"), "no ISO 8601 time"),
        (("--time", "2026-13-01"), "no ISO 8601 time"),
        (("--time", "2026-01-01/1w"), "no ISO 8601 time"),
        (("--time", "2026-01-01/"), "no ISO 8601 time"),
        (("--time", "2026-01-02/2026-01-01"), "ends before it begins"),
        (("--time", "2026-01-02/0s"), "ends before it begins"),
        (("--time", "2026-01-02/999999999d"), "year 9999"),
        (("--request-id", "a b"), "1 to 128"),
        (("--request-id", ""), "1 to 128"),
        (("--index", "-1"), "x>=0"),
        ((), "give --request-id, --time or --index"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(logs: Logs, arguments: tuple[str, ...], what: str) -> None:
    result = invoke("log", "find", "--log", logs.log, *arguments)
    assert result.exit_code == 2
    assert what in result.output


def test_without_a_place_or_a_key_nothing_is_searched(logs: Logs) -> None:
    assert "give archives, or --log" in invoke("log", "find", "--index", 1).output
    result = invoke("log", "find", logs.archives, "--index", 1)
    assert result.exit_code == 2
    assert "--public-key is required" in result.output
    result = invoke("log", "find", logs.archives / "none.parquet", "--public-key", logs.public, "--index", 1)
    assert result.exit_code == 2
    assert "none.parquet: there is no such archive" in result.output


def test_a_companion_that_was_changed_is_an_error_and_never_an_answer(logs: Logs) -> None:
    path = logs.archives / "requests" / "000000000000-000000000004.parquet"
    path.write_bytes(path.read_bytes().replace(b"req-1", b"req-9"))
    result = invoke("log", "find", logs.archives, "--public-key", logs.public, "--request-id", "req-9")
    assert result.exit_code == 2
    assert "requests/000000000000-000000000004.parquet: its bytes are not those that were sealed" in result.output


def test_text_of_the_database_cannot_steer_a_terminal(logs: Logs) -> None:
    raw_sql(str(logs.log), "UPDATE request SET request_id = :evil, time = 9000000000000000000", evil="a\x1b[2J\n0  b")
    result = invoke("log", "find", "--log", logs.log, "--time", "2026-01-01")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert len(result.stdout.splitlines()) == 9


def test_a_flagged_record_of_a_real_run_is_traced_to_its_request(
    tmp_path: Path, model_folder: Path, upstream: Upstream
) -> None:
    """Recorded answers of a real vLLM, two honest and one with spliced payload, through a running sidecar."""
    bundled = ROOT / "cli" / "bundled"
    records = [one.record for one in read_traffic(bundled / "honest.jsonl")[:2]]
    records.insert(1, read_traffic(bundled / "tampered.jsonl")[1].record)
    answers = {tuple(record.prompt_token_ids): record.output_token_ids for record in records}

    async def recorded(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD + event(answers[tuple(body["prompt"])], "length")

    upstream.answer = recorded
    archives = tmp_path / "archives"
    archives.mkdir()
    settings = settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        model_name=records[0].model,
        client_seeds="allow",
        archives=str(archives),
    )
    with running(settings) as sidecar:
        for number, record in enumerate(records):
            body = {"model": record.model, "prompt": record.prompt_token_ids, "seed": record.seed}
            body |= {name: getattr(record.sampling, name) for name in ("top_p", "top_k", "max_tokens")}
            got = sidecar.client.post("/v1/completions", json=body, headers={"x-request-id": f"client-{number}"})
            assert got.status_code == 200, got.text
        said = {
            line["request_id"]: line["records"]
            for line in [sidecar.await_event("request", 3), *sidecar.events("request")]
        }
    key = tmp_path / "log.key.pub"
    key.write_text(invoke("log", "key", "show", tmp_path / "log.key").output)

    def verified() -> list[int]:
        """The flagged records of a run; then the log is checked, and one record proved."""
        report = tmp_path / "report.json"
        arguments = ("--public-key", key, "--model", model_folder, "--policy", BUNDLED_POLICY, "--json", report)
        result = invoke("run", archives, *arguments)
        assert result.exit_code == 1, result.output
        assert invoke("log", "check", archives, "--public-key", key).exit_code == 0
        assert invoke("log", "prove", 1, archives, "--public-key", key).exit_code == 0
        return [one["record"] for one in json.loads(report.read_text())["flagged"]]

    flagged = verified()
    assert flagged == [1]
    result = invoke("log", "find", archives, "--public-key", key, "--index", flagged[0], "--json")
    assert result.exit_code == 0, result.output
    traced = json.loads(result.output)
    assert traced["request_id"] == "client-1"
    assert said["client-1"] == [traced["record_index"]] == flagged

    shutil.rmtree(archives / "requests")
    raw_sql(settings.log, "DELETE FROM request")
    assert verified() == flagged
    assert invoke("log", "find", archives, "--public-key", key, "--index", flagged[0]).exit_code == 1
