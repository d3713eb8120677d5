import socket
from datetime import UTC, datetime, timedelta

from benchmarks.free_port import free_port
from weightwarden.logger.doctor.finding import Status
from weightwarden.logger.doctor.network import clock, clock_after, exposure, free_address, http_date
from weightwarden.logger.serving.address import Address, exposures

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_address_is_free_or_taken_or_not_of_this_host() -> None:
    port = free_port()
    address = Address(host="127.0.0.1", port=port)
    assert free_address("address", address, option="--listen").status is Status.OK
    with socket.create_server(("127.0.0.1", port)):
        taken = free_address("address", address, option="--listen")
        assert taken.status is Status.WARNING
        assert "--listen" in taken.advice
        everywhere = free_address("address", Address(host="0.0.0.0", port=port), option="--listen")
        assert everywhere.status is not Status.OK
    other = free_address("address", Address(host="192.0.2.1", port=port), option="--listen")
    assert other.status is Status.FAULT
    assert free_address("address", Address(host="no.such.host.invalid", port=port), option="--listen").advice


def test_clocks_that_disagree_are_named_with_their_difference() -> None:
    for seconds, said in ((100, "100 s ahead of the server"), (-100, "100 s behind the server")):
        found = clock("clock", NOW + timedelta(seconds=seconds), NOW, "the server")
        assert (found.status, found.found) == (Status.WARNING, said)
        assert "time server" in found.advice
    assert clock("clock", NOW + timedelta(seconds=5), NOW, "the server").status is Status.OK


def test_a_clock_behind_the_past_is_named() -> None:
    assert clock_after("clock", NOW, NOW - timedelta(days=1), "the last change").status is Status.OK
    found = clock_after("clock", NOW, NOW + timedelta(seconds=60), "the last change")
    assert (found.status, found.found) == (Status.WARNING, "60 s behind the last change")


def test_a_date_header_is_a_time_with_a_zone_or_none() -> None:
    assert http_date("Thu, 01 Jan 2026 00:00:00 GMT") == NOW
    assert http_date(None) is http_date("yesterday") is http_date("") is None


def test_an_exposed_address_is_a_warning_with_its_cure() -> None:
    open_address = Address(host="0.0.0.0", port=1)
    found = exposure(exposures(open_address, keys=False, tls=False))
    assert [one.status for one in found] == [Status.WARNING] * 2
    assert all(one.found and one.advice for one in found)
    assert exposure(exposures(Address(host="127.0.0.1", port=1), keys=False, tls=False)) == []
