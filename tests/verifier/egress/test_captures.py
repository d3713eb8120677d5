"""Capture files: formats, byte orders, compression, rotation, drop counters, and files that still grow."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.egress.wire import block, write_pcap, write_pcapng
from tests.verifier.egress.examples import accounted, honest
from weightwarden.verifier.egress.captures import CaptureFile, in_order_of_time
from weightwarden.verifier.egress.errors import CaptureError
from weightwarden.verifier.egress.frames import Event, Frame, Loss

Write = Callable[..., Path]


def events_of(path: Path) -> list[Event]:
    with CaptureFile(path) as capture:
        return list(capture.events())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_frames_come_back_as_they_were_captured(write: Write, order: str, tmp_path: Path) -> None:
    frames = honest().frames
    cut = frames[-1]._replace(length=5_000)
    path = write(tmp_path / "capture", [*frames[:-1], cut], order=order)
    found = events_of(path)
    assert [one[1:3] for one in found] == [one[1:3] for one in [*frames[:-1], cut]]
    assert [one.time for one in found if isinstance(one, Frame)] == pytest.approx([one.time for one in frames])
    assert found[2][3:] == (str(path), 3)


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_compressed_file_is_read(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "capture", honest().frames)
    packed = tmp_path / "capture.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [one[:3] for one in events_of(packed)] == [one[:3] for one in events_of(path)]
    packed.write_bytes(packed.read_bytes()[:-20])
    with CaptureFile(packed) as capture:
        assert len(list(capture.events())) <= len(honest().frames)
        assert capture.unfinished


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_file_that_grows_is_read_on(write: Write, tmp_path: Path) -> None:
    """Wherever the file ends for the moment: no frame is lost, doubled or changed."""
    frames = honest().frames[:4]
    whole = write(tmp_path / "whole", frames).read_bytes()
    begin = len(write(tmp_path / "empty", []).read_bytes())
    path = tmp_path / "growing"
    for size in range(begin, len(whole), 7):
        path.write_bytes(whole[:size])
        with CaptureFile(path) as capture:
            found = list(capture.events())
            with path.open("ab") as more:
                more.write(whole[size:])
            found += capture.events()
            assert not capture.unfinished
        assert [one[:3] for one in found] == [one[:3] for one in events_of(tmp_path / "whole")]


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_file_that_ends_within_a_frame_says_so(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "capture", honest().frames)
    with CaptureFile(path) as capture:
        assert list(capture.events())
        assert not capture.unfinished
    path.write_bytes(path.read_bytes()[:-3])
    with CaptureFile(path) as capture:
        assert list(capture.events())
        assert capture.unfinished


def test_rotated_files_are_one_capture(tmp_path: Path) -> None:
    frames = honest().frames
    names = ["c", "a", "b"]
    thirds = [frames[:20], frames[20:50], frames[50:]]
    paths = [write_pcap(tmp_path / name, part) for name, part in zip(names, thirds, strict=True)]
    paths.append(write_pcap(tmp_path / "0", []))
    ordered = in_order_of_time(sorted(paths))
    assert [path.name for path in ordered] == ["c", "a", "b", "0"]
    assert accounted([event for path in ordered for event in events_of(path)]).verdict == "clear"


def test_drop_counters_of_pcapng_are_losses(tmp_path: Path) -> None:
    path = write_pcapng(tmp_path / "capture", honest().frames, drops=3)
    growing = path.read_bytes() + write_pcapng(tmp_path / "next", [], drops=5).read_bytes()
    [loss] = [one for one in events_of(path) if isinstance(one, Loss)]
    assert loss == Loss(3, "dropped by the interface", str(path))
    path.write_bytes(growing)  # a second section has its own counters
    assert [one.frames for one in events_of(path) if isinstance(one, Loss)] == [3, 5]


def test_frames_dropped_before_a_frame_are_losses(tmp_path: Path) -> None:
    path = write_pcapng(tmp_path / "capture", [])
    option = struct.pack("<HHQHH", 4, 8, 6, 0, 0)
    path.write_bytes(path.read_bytes() + block(6, struct.pack("<IIIII", 0, 0, 0, 4, 4) + b"data" + option))
    assert [one.frames for one in events_of(path) if isinstance(one, Loss)] == [6]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a pcap nor a pcapng file"),
        (b"Not a capture, but long enough for a header", "neither a pcap nor a pcapng file"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 113), "link type 113, not Ethernet"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 4, 0, 0, 65_535, 1), "pcap version 1"),
        (struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 9, 1, 0, 0, 2**31, 1), "frame 1: 2147483648 bytes"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
    ],
)
def test_another_file_is_refused_with_its_name(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=message) as caught:
        events_of(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        struct.pack("<III", 6, 2**31, 0),
        struct.pack("<III", 6, 4, 0),
        block(6, struct.pack("<IIIII", 9, 0, 0, 4, 4) + bytes(4)),
        block(6, struct.pack("<IIIII", 0, 0, 0, 4_000, 4_000) + bytes(4)),
        block(1, struct.pack("<HHI", 113, 0, 0)) + block(6, struct.pack("<IIIII", 1, 0, 0, 4, 4) + bytes(4)),
    ],
)
def test_a_malformed_pcapng_file_is_refused(more: bytes, tmp_path: Path) -> None:
    path = write_pcapng(tmp_path / "capture", honest().frames[:2])
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(CaptureError, match="capture"):
        events_of(path)
