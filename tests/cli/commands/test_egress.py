"""`verify egress`: captures of a link against the archives of a log."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from benchmarks.egress.wire import SERVER, SIDECAR, Tcp, Wire, udp, write_pcap, write_pcapng
from tests.cli.commands.test_run import invoke
from tests.logger.archive.examples import KEY, archived
from tests.places import ROOT
from tests.verifier.egress.examples import ANSWERS, honest, record

ENTRIES = [record(seed, ids) for seed, ids in ANSWERS.items()]


@dataclass
class Setting:
    folder: Path
    options: list[str]

    def capture(self, wire: Wire, name: str = "link.pcap") -> str:
        write = write_pcapng if name.endswith("ng") else write_pcap
        return str(write(self.folder / name, wire.frames))


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    archived(tmp_path / "0.parquet", 0, 3, ENTRIES)
    (tmp_path / "log.key.pub").write_text(f"{KEY.verifier}\n")
    log = ["--log", str(tmp_path / "0.parquet"), "--public-key", str(tmp_path / "log.key.pub")]
    return Setting(tmp_path, [*log, "--sidecar", SIDECAR, "--inference-server", f"{SERVER}:8000"])


@pytest.mark.parametrize("name", ["link.pcap", "link.pcapng"])
def test_an_honest_link_is_clear(name: str, setting: Setting) -> None:
    result = invoke("egress", setting.capture(honest(), name), *setting.options)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Verdict: CLEAR")
    assert "unexplained  0 frames, 0 bytes, 0 bits" in result.output
    assert "No heartbeats were declared" in result.output


def test_what_is_unexplained_is_listed_with_its_place(setting: Setting) -> None:
    wire = honest(lambda wire, _: wire.put(udp(SERVER, SIDECAR, 53, b"weights")))
    path = setting.capture(wire)
    at = next(frame.number for frame in wire.frames if frame.data.endswith(b"weights" + bytes(11)))
    result = invoke("egress", path, *setting.options)
    assert result.exit_code == 1
    assert f"{path}, frame {at}" in result.output
    assert "UDP datagram" in result.output


def test_the_report_follows_its_schema(setting: Setting) -> None:
    wire = honest()
    Tcp(wire, 40_007)
    path = setting.capture(wire)
    out = setting.folder / "egress.json"
    result = invoke("egress", path, *setting.options, "--heartbeat", "239.255.77.77:9/0.01", "--json", str(out))
    assert result.exit_code == 1
    report = json.loads(out.read_text())
    Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / "egress.json").read_text())).validate(report)
    assert (report["verdict"], report["heartbeats"]["count"], report["heartbeats"]["gaps"]) == ("watch", 0, 1)
    assert report["log"]["origin"] == KEY.name
    printed = invoke("egress", path, *setting.options, "--heartbeat", "239.255.77.77:9/0.01", "--json", "-")
    assert json.loads(printed.output) == report


def test_a_file_that_is_still_written_is_no_error(setting: Setting) -> None:
    path = Path(setting.capture(honest()))
    path.write_bytes(path.read_bytes() + b"\x01\x02")
    result = invoke("egress", str(path), *setting.options)
    assert result.exit_code == 0
    assert "still being written" in result.output


def test_rotated_files_in_any_order_are_one_capture(setting: Setting) -> None:
    frames = honest().frames
    paths = [str(write_pcap(setting.folder / name, part)) for name, part in (("b", frames[:30]), ("a", frames[30:]))]
    assert invoke("egress", *reversed(paths), *setting.options).exit_code == 0


@pytest.mark.parametrize(("package", "name"), [("pcapng", "link.pcapng"), ("msgspec", "link.pcap")])
def test_without_the_extra_it_says_what_to_install(
    package: str, name: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [one for one in sys.modules if one.startswith("weightwarden.verifier.egress")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    result = invoke("egress", setting.capture(honest(), name), *setting.options)
    assert result.exit_code == 2
    assert f"{package} is missing" in result.stderr
    assert "egress" in result.stderr


def test_an_encrypted_link_is_refused(setting: Setting) -> None:
    wire = Wire()
    Tcp(wire).send(b"\x16\x03\x01\x02\x00\x01", upward=True)
    result = invoke("egress", setting.capture(wire), *setting.options)
    assert result.exit_code == 2
    assert "encrypted (TLS)" in result.stderr


def test_a_changed_log_is_refused(setting: Setting) -> None:
    path = setting.folder / "0.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    result = invoke("egress", setting.capture(honest()), *setting.options)
    assert result.exit_code == 2
    assert "verify log check" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--sidecar", "sidecar.example", "is not a numeric IPv4 or IPv6 address"),
        ("--inference-server", "10.0.0.1", "is not ADDRESS:PORT"),
        ("--inference-server", f"{SIDECAR}:8000", "is the sidecar's and an inference server's"),
        ("--heartbeat", "10.0.0.1:9", "is not ADDRESS:PORT/SECONDS"),
        ("--heartbeat", "10.0.0.1:9/nan", "is not ADDRESS:PORT/SECONDS"),
    ],
)
def test_a_wrong_address_is_named(option: str, value: str, message: str, setting: Setting) -> None:
    result = invoke("egress", setting.capture(honest()), *setting.options, option, value)
    assert result.exit_code == 2
    assert message in result.stderr
