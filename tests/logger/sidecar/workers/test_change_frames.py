"""Changes of the log as a worker sends them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.sidecar.workers.change_frames import WorkersChange, decode_changes, encode_change
from weightwarden.logger.store.changes import DraftTokens, Entry, SeedBlock

STAMPS = st.none() | st.builds(
    RequestStamp, st.from_regex(r"\A[A-Za-z0-9._-]{1,128}\Z"), st.integers(-(2**63), 2**63 - 1)
)
NUMBERS, CONTENTS = st.integers(0, 2**62), st.binary(max_size=40)
CHANGES = st.one_of(
    st.builds(DraftTokens, NUMBERS, NUMBERS, CONTENTS, st.none() | CONTENTS, STAMPS, st.none() | CONTENTS),
    st.builds(Entry, CONTENTS, st.none() | NUMBERS, STAMPS),
    st.builds(SeedBlock, NUMBERS),
)


def shown(change: WorkersChange) -> object:
    return (change.payload, change.draft, change.stamp, change.leaf) if isinstance(change, Entry) else change


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), CHANGES), max_size=6))
def test_changes_come_as_they_were_sent(sent: list[tuple[int, WorkersChange]]) -> None:
    frame = b"".join(encode_change(ticket, change) for ticket, change in sent)
    got = list(decode_changes(memoryview(frame)))
    assert [(ticket, shown(change)) for ticket, change in got] == [(ticket, shown(change)) for ticket, change in sent]


@given(CHANGES, st.data())
def test_a_frame_that_is_cut_off_is_refused(change: WorkersChange, data: st.DataObject) -> None:
    frame = encode_change(7, change)
    cut = data.draw(st.integers(1, len(frame) - 1))
    with pytest.raises(ValueError, match="ends within a change"):
        list(decode_changes(memoryview(frame[:cut])))


def test_what_is_no_change_is_refused() -> None:
    frame = bytes([9]) + encode_change(7, SeedBlock(1))[1:]
    with pytest.raises(ValueError, match="9 is no form of a change"):
        list(decode_changes(memoryview(frame)))
