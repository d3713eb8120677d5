"""The HTTP API: closed without a key, never a 500, nothing but what it describes, and no token text unasked."""

import base64
import math
import platform
import re
import socket
import sqlite3
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.verifier.server.running import API_KEY, OPERATOR, Clock, Log, Server, honest, server_in, stolen
from tests.verifier.server.serving import served
from weightwarden.logger.files.private import write_private
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.api.app import description

CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
PATHS = (
    "/",
    "/ready",
    "/runbook",
    "/metrics",
    "/dashboard/app.js",
    "/nothing",
    *(f"/api/v1/{name}" for name in ("openapi.json", "status", "archives", "archives/1", "quarantine", "verdicts")),
    *(f"/api/v1/{name}" for name in ("records/0", "rates", "bounds", "margins", "alarms")),
)


def filled(folder: Path, replayer: TransformersReplayer, policy: Policy, **more: Any) -> Server:
    """A server with something of everything: verdicts, flagged ones, an alarm, quarantine, a gap, a backlog."""
    server = server_in(folder, replayer, policy, Clock(), **more)
    log = Log(folder / "archives")
    records = honest(20)
    log.seal(records[:6])
    server.settle()
    log.seal([stolen(record) for record in records[6:12]])
    server.settle()
    log.seal(records[12:14]).write_bytes(b"nonsense")
    log.seal(records[14:16])
    server.clock.now += 7200
    server.opened.follower.look()
    server.opened.watch.look()
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, replayer: TransformersReplayer, bundled_policy: Policy) -> Server:
    return filled(tmp_path_factory.mktemp("api"), replayer, bundled_policy)


@pytest.fixture(scope="module")
def url(server: Server) -> Iterator[str]:
    with served(server) as url:
        yield url


def get(url: str, path: str, **headers: str | bytes) -> httpx2.Response:
    given = {name: value.encode() if isinstance(value, str) else value for name, value in headers.items()}
    return httpx2.get(
        f"{url}{path}", headers={name.encode(): value for name, value in given.items()}, trust_env=False, timeout=30
    )


def read(url: str, path: str) -> Any:
    answer = get(url, f"/api/v1/{path}", **OPERATOR)
    assert answer.status_code == 200, answer.text
    return answer.json()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_nothing_is_served_but_health(url: str, path: str) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"authorization": f"Bearer {API_KEY}x"},
        {"authorization": "Bearer"},
        {"authorization": basic("me", "wrong")},
        {"authorization": basic(API_KEY, "")},
        {"authorization": "Basic ????"},
        {"authorization": b"Basic \xe9"},
        {"authorization": b"Bearer \xe9"},
        {"authorization": f"Digest {API_KEY}"},
        {"cookie": f"authorization=Bearer {API_KEY}"},
    ]
    for headers in wrong:
        answer = get(url, path, **headers)
        assert answer.status_code == 401
        assert list(answer.json()) == ["detail"]
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.headers["connection"] == "close"
    assert get(url, "/health").json() == {"status": "ok"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_no_method_goes_around_the_key(url: str, method: str) -> None:
    for path in (*PATHS, "/api/v1/alarms/1/acknowledge"):
        assert httpx2.request(method, f"{url}{path}", trust_env=False).status_code == 401


def test_the_key_is_taken_as_a_bearer_token_and_as_a_password(url: str) -> None:
    for path in PATHS:
        expected = 404 if path == "/nothing" else 200
        assert get(url, path, **OPERATOR).status_code == expected, path
        assert get(url, path, authorization=basic("anybody", API_KEY)).status_code == expected, path


def test_a_key_that_may_look_may_not_acknowledge(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    reader = "key-of-prometheus-0123456789"
    write_private(tmp_path / "read.keys", f"{reader}\n".encode())
    server = filled(tmp_path, replayer, bundled_policy, read_keys=tmp_path / "read.keys")
    with served(server) as url:
        headers = {"authorization": f"Bearer {reader}"}
        assert get(url, "/api/v1/status", **headers).json()["may_acknowledge"] is False
        assert read(url, "status")["may_acknowledge"] is True
        assert get(url, "/metrics", **headers).status_code == 200
        path, said = f"{url}/api/v1/alarms/1/acknowledge", {"by": "a", "reason": "b"}
        assert httpx2.post(path, json=said, headers=headers, trust_env=False).status_code == 403
        assert httpx2.post(path, json=said, headers=OPERATOR, trust_env=False).status_code == 200


def test_pages_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(url: str) -> None:
    headers = get(url, "/", **OPERATOR).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_another_site_cannot_have_the_browser_acknowledge(url: str) -> None:
    path, said = f"{url}/api/v1/alarms/1/acknowledge", {"by": "a", "reason": "b"}
    for site in ("cross-site", "same-site"):
        headers = OPERATOR | {"sec-fetch-site": site}
        assert httpx2.post(path, json=said, headers=headers, trust_env=False).status_code == 403
    text = httpx2.post(
        path, content='{"by": "a", "reason": "b"}', headers=OPERATOR | {"content-type": "text/plain"}, trust_env=False
    )
    assert text.status_code == 422
    bare = httpx2.post(path, content=b'{"by": "a", "reason": "b"}', headers=OPERATOR, trust_env=False)
    assert bare.status_code == 422  # a form or a beacon needs no permission to send it
    assert [one["acknowledged_at"] for one in read(url, "alarms")["incidents"] if one["id"] == 1] == [None]


def test_the_state_at_a_glance(url: str, server: Server) -> None:
    status = read(url, "status")
    assert status["state"] == "alarm"
    assert {reason["kind"] for reason in status["reasons"]} == {"monitor", "seal", "gap"}
    assert status["audit"]["audited_records"] == 12
    assert status["audit"]["flagged"] == 6
    assert status["audit"]["backlog_records"] == 2
    assert status["quarantined"] == 2
    assert status["monitor"]["p_value"] < 1e-4
    assert status["concern"] == "evidence"
    assert status["meaning"] == "Evidence against the inference server; An archive without a valid seal."
    assert status["bounds"]["days_to_exfiltrate"] is None  # twelve short records say nothing of it
    assert status["bounds"]["open_channels"] == ["timing"]
    assert status["watched_at"] == status["now"]


def test_quarantine_archives_and_verdicts_are_named(url: str) -> None:
    held = {one["kind"]: one for one in read(url, "quarantine")["quarantined"]}
    assert sorted(held) == ["gap", "seal"]
    assert held["gap"]["what"].startswith("records 12 to 13 of example.org/log")
    archives = read(url, "archives")["archives"]
    assert [one["state"] for one in archives] == ["auditing", "quarantined", "audited", "audited"]
    assert archives[0]["remaining"] == 2
    assert archives[1]["quarantine"]["kind"] == "seal"
    assert read(url, "archives?state=audited&limit=1")["next"] == archives[2]["id"]
    flagged = read(url, "verdicts?flagged=true")["verdicts"]
    assert [one["position"] for one in flagged] == [11, 10, 9, 8, 7, 6]
    page = read(url, "verdicts?limit=5")
    assert [one["position"] for one in read(url, f"verdicts?limit=5&before={page['next']}")["verdicts"]] == [
        6,
        5,
        4,
        3,
        2,
    ]
    assert get(url, "/api/v1/archives/99", **OPERATOR).status_code == 404
    assert get(url, "/api/v1/records/99", **OPERATOR).status_code == 404


def test_rates_bounds_and_margins(url: str) -> None:
    rates = read(url, "rates")
    assert [series["name"] for series in rates["series"]] == [
        "mismatches",
        "suspicious",
        "dangerous",
        "pooled_bits",
        "outlying",
        "flagged",
    ]
    for series in rates["series"]:
        assert [point["records"] for point in series["points"]] == [6, 12]  # one that was kept, and how it is now
        for point in series["points"]:
            assert point["low"] <= point["value"] <= point["high"]
    flagged = rates["series"][-1]["points"]
    assert [point["recent"] for point in flagged] == [0.0, 1.0]
    bounds = read(url, "bounds")
    assert sum(one["bits_per_day"] for one in bounds["channels"] if one["counted"]) == pytest.approx(
        bounds["bits_per_day"]
    )
    assert [one["name"] for one in bounds["bounds"]] == ["pooled bound", "counting bound"]
    series, leading = read(url, "status")["bounds"]["series"], bounds["bounds"][0]
    assert (series["records"], series["audited_records"], series["tokens"]) == (12, 12, 96)
    assert (series["bits"], series["bits_per_token"]) == (leading["limit_bits"], leading["limit"])
    assert series["stock_bits"] == 0.0  # every answer was audited
    assert series["rate"] == pytest.approx(leading["audited"]) == pytest.approx(series["bits_per_token"])
    assert series["statement"] == bounds["statement"]
    assert "12 answers with 96 output tokens, every one audited" in series["statement"]
    assert rates["limit"][-1]["limit"] == pytest.approx(series["bits_per_token"])
    assert rates["limit"][0]["records"] == 6
    margins = read(url, "margins")
    assert sum(one["observed"] for one in margins["bins"]) == margins["tokens"] == 96
    assert margins["bins"][-1]["observed"] > margins["bins"][-1]["expected_at_most"]


def test_no_answer_carries_token_text_or_ids_unless_the_operator_turns_it_on(
    url: str, tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    view = read(url, "records/6")
    assert len(view["tokens"]) == 8
    assert any(token["alternatives"] for token in view["tokens"])
    for token in view["tokens"]:
        assert token["id"] is token["text"] is None
        assert all(one["id"] is one["text"] is None for one in token["alternatives"])
    assert read(url, "records/0")["tokens"] == []
    shown = filled(tmp_path, replayer, bundled_policy, show_text=True)
    with served(shown) as other:
        tokens = read(other, "records/6")["tokens"]
    claimed = [token["id"] for token in tokens]
    assert claimed == stolen(honest(20)[6]).output_token_ids
    assert all(token["text"] for token in tokens)


STOP_STRING = "\u202ethe secret stop string of a client"


def test_reasons_quote_nothing_of_a_record_unless_the_operator_turns_it_on(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    record = honest(1)[0]
    stopped = Record.model_validate(
        record.model_dump()
        | {"finish_reason": "stop", "stop_reason": STOP_STRING * 50}
        | {"sampling": record.sampling.model_dump() | {"stop": [STOP_STRING * 50]}}
    )
    for shown in (False, True):
        folder = tmp_path / str(shown)
        folder.mkdir()
        server = server_in(folder, replayer, bundled_policy, show_text=shown)
        Log(folder / "archives").seal([stopped])
        server.settle()
        with served(server) as url:
            for reasons in (
                read(url, "records/0")["verdict"]["reasons"],
                read(url, "verdicts")["verdicts"][0]["reasons"],
            ):
                [reason] = reasons
                assert ("secret stop string" in reason) == shown
                assert reason.startswith("early stop")
                assert len(reason) < 300
                assert reason.isprintable()


NONSENSE = (
    b'{"by": NaN, "reason": "b"}',
    b'{"by": 1e999, "reason": "b"}',
    b'{"by": "\\ud800", "reason": "b"}',
    b"[",
    b"",
)


@pytest.mark.parametrize("body", [*NONSENSE, b'{"\\ud800": 1}', b'{"by": "a", "reason": "b", "x": NaN}'])
def test_bodies_that_no_json_holds_are_refused(url: str, body: bytes) -> None:
    headers = OPERATOR | {"content-type": "application/json"}
    answer = httpx2.post(f"{url}/api/v1/alarms/1/acknowledge", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 422, answer.text
    assert all(sorted(problem) == ["loc", "msg", "type"] for problem in answer.json()["detail"])


def test_a_body_that_is_nested_too_deep_is_refused(url: str) -> None:
    headers = OPERATOR | {"content-type": "application/json"}
    answer = httpx2.post(f"{url}/api/v1/alarms/1/acknowledge", content=b"[" * 60_000, headers=headers, trust_env=False)
    assert answer.status_code == 400


def test_a_body_that_is_too_large_or_never_ends_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.verifier.server.api.request_bodies.MAX_SECONDS", 0.5)
    headers = OPERATOR | {"content-type": "application/json"}
    path = f"{url}/api/v1/alarms/1/acknowledge"
    large = httpx2.post(path, content=b"x" * 100_000, headers=headers, trust_env=False)
    assert large.status_code == 413
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /api/v1/alarms/1/acknowledge HTTP/1.1\r\nhost: a\r\nauthorization: {OPERATOR['authorization']}\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(10)
        client.sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_acknowledging_keeps_who_and_why_once(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = filled(tmp_path, replayer, bundled_policy)
    with served(server) as url:
        [monitor] = [one for one in read(url, "alarms")["incidents"] if one["kind"] == "monitor"]
        path = f"{url}/api/v1/alarms/{monitor['id']}/acknowledge"

        def said(**body: str) -> httpx2.Response:
            return httpx2.post(path, json=body, headers=OPERATOR, trust_env=False)

        assert said(by="", reason="b").status_code == 422
        assert said(by="a", reason="  ").status_code == 422
        assert said(by="a").status_code == 422
        why = "a kernel was changed\nby the night shift: " + "they say so. " * 100
        answer = said(by="Ada\u202e\x00", reason=f"{why}\x1b[2J")
        assert answer.status_code == 200
        assert answer.json()["acknowledged_by"].isprintable()
        assert answer.json()["reason"] == f"{why}\\x1b[2J"
        assert said(by="b", reason="c").status_code == 409
        assert read(url, "status")["monitor"]["p_value"] == 1.0
        assert httpx2.post(
            f"{url}/api/v1/alarms/999/acknowledge", json={"by": "a", "reason": "b"}, headers=OPERATOR, trust_env=False
        ).is_client_error


def test_metrics_say_what_the_status_says(url: str) -> None:
    text = get(url, "/metrics", **OPERATOR).text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    build = (platform.python_version(), sqlite3.sqlite_version, version("weightwarden"))
    assert samples["weightwarden_verifier_state", "alarm"] == 1
    assert samples["weightwarden_verifier_state", "clear"] == 0
    assert samples["weightwarden_verifier_conclusive",] == 0
    assert samples["weightwarden_verifier_tokens_needed",] > 0
    assert math.isnan(samples["weightwarden_verifier_days_to_exfiltrate",])
    assert samples["weightwarden_verifier_build_info", *build] == 1
    assert samples["weightwarden_verifier_audited_records_total",] == 12
    assert samples["weightwarden_verifier_archives", "quarantined"] == 1
    assert samples["weightwarden_verifier_quarantined", "gap"] == 1
    assert samples["weightwarden_verifier_backlog_records",] == 2
    series = read(url, "status")["bounds"]["series"]
    assert samples["weightwarden_verifier_bits_per_token",] == pytest.approx(series["bits_per_token"])
    assert samples["weightwarden_verifier_series_bits",] == pytest.approx(series["bits"])
    assert samples["weightwarden_verifier_series_rate_bits_per_token",] == pytest.approx(series["rate"])
    assert samples["weightwarden_verifier_series_stock_bits",] == 0
    assert samples["weightwarden_verifier_series_tokens_total",] == 96


def test_a_database_that_fails_is_a_503_and_says_nothing_of_itself(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = server_in(tmp_path, replayer, bundled_policy)
    with served(server) as url:
        (tmp_path / "verdicts.db").write_bytes(b"no database at all, whatever it was before" * 100)
        for name in ("-wal", "-shm"):
            (tmp_path / f"verdicts.db{name}").unlink(missing_ok=True)
        answer = get(url, "/api/v1/status", **OPERATOR)
        assert (answer.status_code, answer.json()) == (503, {"detail": "the database cannot be used now"})
        assert "weightwarden_verifier_database_up 0.0" in get(url, "/metrics", **OPERATOR).text
        assert get(url, "/health").status_code == 200
    assert server.events("database failed")


SCHEMA = schemathesis.openapi.from_dict(description())


@SCHEMA.parametrize()
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_is_described_and_none_is_a_500(url: str, case: "schemathesis.Case[Any]") -> None:
    case.validate_response(case.call(base_url=url, headers=OPERATOR), checks=CHECKS)


@pytest.mark.parametrize(("limit", "status"), [("3", 200), ("no number", 422)])
def test_answers_and_refusals_are_both_described(url: str, limit: str, status: int) -> None:
    case = SCHEMA["/api/v1/verdicts"]["GET"].Case(query={"limit": limit})
    response = case.call(base_url=url, headers=OPERATOR)
    assert response.status_code == status
    case.validate_response(response, checks=CHECKS)


def test_the_description_names_every_path_but_those_of_machines(server: Server, url: str) -> None:
    described = set(get(url, "/api/v1/openapi.json", **OPERATOR).json()["paths"])
    assert all(re.match(r"/api/v1/", path) for path in described)
    assert len(described) == 11
