"""Which files become reports of a tap, each once, and that one that cannot be used stops no other."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.server.running import Clock, Server, server_in
from tests.verifier.server.tap_reports import HOUR, incidents, lasting, look, put, report, rows, the_tap, touch_later
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.ingest.egress_report import read_report

GOOD = report(Clock().now)
FAULTS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"\xff\xfe", "not UTF-8"),
    "half": (GOOD.model_dump_json().encode()[:500], "not strict JSON"),
    "twice": (b'{"format": "weightwarden-egress/1", "format": "weightwarden-egress/1"}', "appears twice"),
    "deep": (b'{"format": ' + b"[" * 100_000, "nested too deeply"),
    "list": (b"[]", "not a JSON object"),
    "format": (
        GOOD.model_dump_json().replace("egress/1", "egress/2").encode(),
        "its format is 'weightwarden-egress/2'",
    ),
    "field": (GOOD.model_dump_json().replace('"frames":', '"frame":', 1).encode(), "field frames: Field required"),
    "more": (b'{"more": 1,' + GOOD.model_dump_json().encode()[1:], "field more"),
    "number": (GOOD.model_copy(update={"frames": -1}).model_dump_json().encode(), "field frames"),
    "verdict": (GOOD.model_copy(update={"verdict": "watch"}).model_dump_json().encode(), "its content is clear"),
    "sums": (GOOD.model_copy(update={"frames": 1}).model_dump_json().encode(), "the sums of its classes"),
    "empty": (GOOD.model_copy(update={"last_time": None}).model_dump_json().encode(), "of no time"),
    "times": (report(Clock().now, last_time=1.0).model_dump_json().encode(), "ends before it begins"),
    "future": (report(Clock().now + 3600).model_dump_json().encode(), "it ends 3600 s after now"),
    "log": (
        GOOD.model_copy(update={"log": GOOD.log.model_copy(update={"origin": "example.org/other"})})
        .model_dump_json()
        .encode(),
        "its log is example.org/other",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_is_no_report_is_an_incident_and_stops_no_other(tapped: Server, tap: Path, name: str) -> None:
    content, words = FAULTS[name]
    path = put(tap, "0.json", content)
    put(tap, "1.json", GOOD)
    look(tapped)
    assert (the_tap(tapped).state, the_tap(tapped).refused) == ("clear", 1)
    [incident] = incidents(tapped, "egress_refused")
    assert words in incident.what
    look(tapped)
    assert rows(tapped) == 2
    path.unlink()
    look(tapped)
    assert (the_tap(tapped).refused, lasting(tapped)) == (0, [])


def test_a_refused_file_is_read_again_when_it_can_be_used(tapped: Server, tap: Path) -> None:
    content = report(tapped.clock() + HOUR)
    path = put(tap, "0.json", content)
    look(tapped)
    assert lasting(tapped) == ["egress_refused"]
    tapped.clock.now += HOUR  # the file is the same
    look(tapped)
    assert (the_tap(tapped).state, the_tap(tapped).refused, lasting(tapped)) == ("clear", 0, [])
    before = path.stat().st_mtime_ns
    put(tap, "0.json", b"{")
    look(tapped)  # what was read stays
    assert (the_tap(tapped).state, the_tap(tapped).refused) == ("clear", 1)
    put(tap, "0.json", content)
    os.utime(path, ns=(before, before))
    look(tapped)  # it is again what it was
    assert (the_tap(tapped).state, the_tap(tapped).refused, rows(tapped)) == ("clear", 0, 1)


def test_large_files_are_not_read(tapped: Server, tap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.verifier.server.ingest.egress_report.MAX_BYTES", 100)
    put(tap, "0.json", GOOD)
    look(tapped)
    [incident] = incidents(tapped, "egress_refused")
    assert "more than a report has" in incident.what


def test_a_defect_on_one_report_stops_no_other(tapped: Server, tap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tap, "0.json", GOOD)
    put(tap, "1.json", GOOD)
    real = "weightwarden.verifier.server.ingest.egress_follower.read_report"

    def fails(file: Any, *rest: Any) -> Any:
        if file.url.endswith("0.json"):
            raise KeyError("a defect")
        return read_report(file, *rest)

    monkeypatch.setattr(real, fails)
    look(tapped)
    assert (the_tap(tapped).state, the_tap(tapped).refused) == ("clear", 1)
    assert tapped.events("defect")


def test_a_missing_folder_is_a_trouble_and_what_was_read_stays(tapped: Server, tap: Path) -> None:
    path = put(tap, "0.json", GOOD)
    look(tapped)
    path.unlink()
    tap.rmdir()
    assert tapped.opened.egress.look() == [f"{tap}: cannot be looked up: No such file or directory"]
    assert the_tap(tapped).state == "clear"


def test_two_servers_store_a_report_once(
    tapped: Server, tmp_path: Path, tap: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    settings = tapped.opened.settings
    more: dict[str, Any] = {"database": settings.database, "egress_reports": (f"{tap}/",), "archive_interval": 1e9}
    other = server_in(tmp_path, replayer, bundled_policy, tapped.clock, **more)
    path = put(tap, "0.json", report(tapped.clock(), datagrams=1))
    for one in (tapped, other, tapped):
        look(one)
    assert rows(tapped) == 1
    touch_later(path)
    for one in (other, tapped):
        look(one)
    assert rows(tapped) == 2
    assert len(incidents(tapped, "egress_unexplained")) == 1
    assert the_tap(other).unexplained_frames == 1
    assert tapped.opened.membership.take("egress")
    assert other.opened.egress.look() is None
