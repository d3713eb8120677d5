"""Random bytes as captures and frames: no crash, bounded memory, and each frame in one class."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.egress.wire import BEATING, LINK, Tcp, Wire, answer_parts, request, write_pcap, write_pcapng
from tests.verifier.egress.examples import accounted, honest, log_of
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.captures import CaptureFile
from weightwarden.verifier.egress.errors import CaptureError, EncryptedLink
from weightwarden.verifier.egress.frames import Frame

FRAMES = honest().frames
_FOLDER = TemporaryDirectory(prefix="weightwarden-egress-")
CAPTURE = Path(_FOLDER.name) / "capture"
SEEDS = [write(CAPTURE, FRAMES[:6]).read_bytes() for write in (write_pcap, write_pcapng)]
SEEDS.append(write_pcapng(CAPTURE, FRAMES[:2], drops=2).read_bytes())


def edits(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some replaced, removed or added."""
    places = st.tuples(st.integers(0, len(data)), st.integers(0, 8), st.binary(max_size=12))

    def edited(changes: list[tuple[int, int, bytes]]) -> bytes:
        found = data
        for at, size, new in changes:
            found = found[:at] + new + found[at + size :]
        return found

    return st.lists(places, min_size=1, max_size=4).map(edited)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS).flatmap(edits) | st.binary(max_size=200))
def test_a_changed_file_is_read_or_refused(data: bytes) -> None:
    CAPTURE.write_bytes(data)
    with suppress(CaptureError), CaptureFile(CAPTURE) as capture:
        for event in capture.events():
            assert not isinstance(event, Frame) or len(event.data) <= len(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FRAMES) - 1), st.data()), min_size=1, max_size=3), st.booleans())
def test_changed_frames_are_accounted_for_once(changes: list[tuple[int, st.DataObject]], checks: bool) -> None:
    frames = list(FRAMES)
    for at, draw in changes:
        data = draw.draw(edits(frames[at].data))
        frames[at] = frames[at]._replace(data=data, length=len(data))
    link = LINK if checks else type(LINK)(sidecars=LINK.sidecars, servers=LINK.servers, checks_checksums=False)
    try:
        accounted(frames, link=link)
    except EncryptedLink:
        assert not checks


SEGMENT = st.tuples(
    st.booleans(),
    st.integers(0, 0x3F),
    st.integers(-50, 50) | st.integers(-(2**31), 2**31),
    st.binary(max_size=20) | st.sampled_from(answer_parts([1, 2])) | st.just(request([1], 1)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SEGMENT, max_size=30))
def test_random_segments_of_a_connection_are_accounted_for_once(
    segments: list[tuple[bool, int, int, bytes]],
) -> None:
    wire = Wire()
    tcp = Tcp(wire)
    tcp.ask([1], 1)
    for upward, flags, offset, payload in segments:
        tcp.segment(upward, flags, payload, offset=offset)
    account = EgressAccount(LINK, log_of())
    account.add(wire.frames)
    account.finish()
    accounted(wire.frames)
    for key in list(account._connections):
        account._forget(key)
    assert 0 <= account._memory.held <= 4 * 2 * len(segments)  # the ids of exchanges that wait for a record


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(FRAMES) - 1), max_size=120))
def test_frames_in_any_order_and_number_are_accounted_for_once(order: list[int]) -> None:
    report = accounted([FRAMES[at] for at in order])
    assert report.verdict != "clear" or report.exchanges.completions


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=14, max_size=120), max_size=20))
def test_random_frames_are_never_explained(contents: list[bytes]) -> None:
    frames = [Frame(float(at), data, len(data), "f", at) for at, data in enumerate(contents)]
    report = accounted(frames, link=BEATING)
    assert report.total("explained") == (0, 0)


def test_random_memory_limits_hold() -> None:
    for limit in (0, 1, 100, 1_000, 5_000):
        account = EgressAccount(LINK, log_of(), memory_bytes=limit)
        for frame in FRAMES:
            account.add([frame])
            assert 0 <= account._memory.held <= limit
