"""The tap as a source: what its reports say is shown, raises its incidents, and each counts once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from benchmarks.egress.wire import SERVER, SIDECAR, write_pcap
from tests.cli.commands.test_run import invoke
from tests.verifier.egress.examples import ANSWERS, honest, record
from tests.verifier.server.running import Log, Server, settings_in
from tests.verifier.server.tap_reports import (
    HOUR,
    acknowledged,
    incidents,
    lasting,
    look,
    put,
    report,
    rows,
    status,
    the_tap,
)
from weightwarden.verifier.server.alerting.taps import SHOWN
from weightwarden.verifier.server.api.metrics import Metrics
from weightwarden.verifier.server.errors import ServerSettingsError
from weightwarden.verifier.server.startup import open_server

DAY = 24 * HOUR


def test_a_report_of_the_command_is_read_once_and_is_clear(tapped: Server, tmp_path: Path, tap: Path) -> None:
    archive = Log(tmp_path / "archives").seal_entries([record(seed, ids) for seed, ids in ANSWERS.items()])
    capture = write_pcap(tmp_path / "link.pcap", honest().frames)
    link = ("--sidecar", SIDECAR, "--inference-server", f"{SERVER}:8000", "--json", str(tap / "0.json"))
    log = ("--log", str(archive), "--public-key", str(tmp_path / "log.pub"))
    assert invoke("egress", str(capture), *log, *link).exit_code == 0
    said = json.loads((tap / "0.json").read_text())
    tapped.clock.now = said["last_time"] + HOUR
    look(tapped)
    look(tapped)
    found = the_tap(tapped)
    assert (found.state, found.frames, found.unexplained_frames) == ("clear", said["frames"], 0)
    assert (found.begins_at, found.ends_at) == (said["first_time"], said["last_time"])
    assert (found.origin, found.what, found.refused) == (said["log"]["origin"], "", 0)
    assert rows(tapped) == 1
    assert lasting(tapped) == []


def test_unexplained_frames_are_an_alarm_until_somebody_acknowledges_them(tapped: Server, tap: Path) -> None:
    put(tap, "1.json", report(tapped.clock(), datagrams=2))
    look(tapped)
    found = status(tapped)
    assert (found.state, found.concern) == ("alarm", "evidence")
    assert found.meaning == "Frames on the link that nothing explains."
    [incident] = incidents(tapped, "egress_unexplained")
    assert "2 frames" in incident.what
    assert "UDP datagram (2)" in incident.what
    assert (the_tap(tapped).state, the_tap(tapped).unexplained_frames) == ("unexplained", 2)

    tapped.clock.now += HOUR
    put(tap, "2.json", report(tapped.clock()))
    look(tapped)  # a clear report of later time explains nothing of the past
    assert (status(tapped).state, the_tap(tapped).state) == ("alarm", "unexplained")
    assert lasting(tapped) == ["egress_unexplained"]

    acknowledged(tapped)
    look(tapped)
    assert (status(tapped).state, the_tap(tapped).state) == ("inconclusive", "clear")
    assert the_tap(tapped).unexplained_frames == 0
    assert lasting(tapped) == []
    assert len(incidents(tapped, "egress_unexplained")) == 1


def test_an_acknowledged_report_stays_to_be_watched_until_a_later_one_comes(tapped: Server, tap: Path) -> None:
    put(tap, "1.json", report(tapped.clock(), datagrams=1))
    look(tapped)
    acknowledged(tapped)
    look(tapped)
    assert (status(tapped).state, the_tap(tapped).state) == ("watch", "unexplained")
    tapped.clock.now += HOUR
    put(tap, "2.json", report(tapped.clock(), datagrams=1))
    look(tapped)  # of another hour: other frames
    assert status(tapped).state == "alarm"
    assert len(incidents(tapped, "egress_unexplained")) == 2


def test_a_report_between_two_looks_is_not_passed_over(tapped: Server, tap: Path) -> None:
    put(tap, "1.json", report(tapped.clock() - HOUR, datagrams=1))
    put(tap, "2.json", report(tapped.clock()))
    look(tapped)
    assert lasting(tapped) == ["egress_unexplained"]


def test_the_same_frames_in_a_longer_report_are_no_new_incident_and_more_frames_are(tapped: Server, tap: Path) -> None:
    begin = tapped.clock() - HOUR
    put(tap, "all.json", report(tapped.clock(), datagrams=1))
    look(tapped)
    acknowledged(tapped)
    tapped.clock.now += HOUR
    put(tap, "all.json", report(tapped.clock(), datagrams=1, first_time=begin))
    look(tapped)
    assert rows(tapped) == 2
    assert (status(tapped).state, len(incidents(tapped, "egress_unexplained"))) == ("watch", 1)
    assert the_tap(tapped).unexplained_frames == 1
    tapped.clock.now += HOUR
    put(tap, "all.json", report(tapped.clock(), datagrams=3, first_time=begin))
    look(tapped)
    assert (status(tapped).state, len(incidents(tapped, "egress_unexplained"))) == ("alarm", 2)
    assert the_tap(tapped).unexplained_frames == 3


def test_many_reports_at_once_are_counted(tapped: Server, tap: Path) -> None:
    for hour in range(SHOWN + 2):
        put(tap, f"{hour:02}.json", report(tapped.clock() - HOUR * hour, datagrams=1))
    look(tapped)
    found = incidents(tapped, "egress_unexplained")
    assert len(found) == SHOWN + 1
    assert found[-1].what.startswith("2 more reports")
    assert the_tap(tapped).unexplained_frames == SHOWN + 2


def test_findings_are_to_be_watched_until_the_next_clear_report(tapped: Server, tap: Path) -> None:
    put(tap, "1.json", report(tapped.clock(), findings=("a", "b", "c", "d", "e")))
    look(tapped)
    assert (status(tapped).state, the_tap(tapped).state) == ("watch", "watch")
    [incident] = incidents(tapped, "egress_watch")
    assert incident.what.endswith("1.json: a; b; c, and 2 more")
    tapped.clock.now += HOUR
    put(tap, "2.json", report(tapped.clock()))
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("clear", [])


def test_a_tap_without_new_reports_is_stale_and_a_new_one_ends_that(tapped: Server, tap: Path) -> None:
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("none", [])
    tapped.clock.now += DAY + 60
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped), status(tapped).state) == ("none", ["egress_stale"], "stale")
    put(tap, "1.json", report(tapped.clock()))
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("clear", [])
    tapped.clock.now += DAY
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("clear", [])
    tapped.clock.now += 60
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("stale", ["egress_stale"])
    [_, incident] = incidents(tapped, "egress_stale")
    assert incident.what == f"{tap}: the newest report ends 24.0 hours ago, at most 24 are wanted"
    put(tap, "2.json", report(tapped.clock()))
    look(tapped)
    assert (the_tap(tapped).state, lasting(tapped)) == ("clear", [])


def test_the_newest_report_is_the_one_that_ends_last(tapped: Server, tap: Path) -> None:
    put(tap, "a.json", report(tapped.clock()))
    look(tapped)
    put(tap, "b.json", report(tapped.clock() - 2 * DAY, findings=("an old one",)))
    look(tapped)
    assert the_tap(tapped).state == "clear"


def test_metrics_tell_the_state_of_the_taps(tapped: Server, tap: Path) -> None:
    def metrics() -> str:
        return generate_latest(Metrics(tapped.opened).registry).decode()

    prefix = "weightwarden_verifier_egress_"
    assert f'{prefix}taps{{state="none"}} 1.0' in metrics()
    assert f"{prefix}report_timestamp_seconds NaN" in metrics()
    put(tap, "0.json", report(tapped.clock(), datagrams=2))
    put(tap, "1.json", b"{")
    look(tapped)
    text = metrics()
    for line in (
        'taps{state="unexplained"} 1.0',
        'taps{state="none"} 0.0',
        "unexplained_frames 2.0",
        "unexplained_bytes 120.0",
        "report_timestamp_seconds 1.8e+09",
        "refused_files 1.0",
    ):
        assert f"{prefix}{line}\n" in text


def test_a_folder_that_is_missing_or_given_twice_is_refused_at_the_start(tapped: Server, tmp_path: Path) -> None:
    for folders, words in (
        ((str(tmp_path / "no"),), "no such folder"),
        ((str(tmp_path), f"{tmp_path}/"), "given twice"),
    ):
        settings = replace(settings_in(tmp_path), egress_reports=folders)
        with pytest.raises(ServerSettingsError, match=words):
            open_server(
                settings, tapped.opened.verifier, clock=tapped.clock, sleep=lambda _: None, events=tapped.opened.events
            )
