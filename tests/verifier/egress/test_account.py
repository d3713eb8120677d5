"""The account of exchanges: what is matched with the log, what the captures lack, and what is left undecided."""

import pytest

from benchmarks.egress.wire import BEATING, LINK, SERVER, SIDECAR, Tcp, Wire, answer_parts, udp
from tests.logger.examples import edited
from tests.verifier.egress.examples import ANSWERS, PROMPT, accounted, honest, log_of, record
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Record
from weightwarden.verifier.egress import account as account_module
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.errors import EncryptedLink, LinkError
from weightwarden.verifier.egress.frames import Loss
from weightwarden.verifier.egress.layers import ACK, FIN, RST, SYN
from weightwarden.verifier.egress.link import Endpoint, Link, packed_address
from weightwarden.verifier.egress.reporting import report_of

SIDECAR_BYTES, SERVER_BYTES = packed_address(SIDECAR), packed_address(SERVER)
ALL = [record(seed, ids) for seed, ids in ANSWERS.items()]


def test_a_record_may_hold_the_beginning_of_what_the_server_sent() -> None:
    cut = log_of(record(1, ANSWERS[1][:5]), *ALL[1:])
    report = accounted(honest().frames, cut)
    assert report.verdict == "clear"
    assert (report.exchanges.logged_tokens, report.exchanges.cut_tokens) == (29, 7)


@pytest.mark.parametrize("ids", [[*ANSWERS[1], 7], [*ANSWERS[1][:11], 7], ANSWERS[2]])
def test_a_record_with_other_tokens_is_a_finding(ids: list[int]) -> None:
    report = accounted(honest().frames, log_of(record(1, ids), *ALL[1:]))
    assert [one.name for one in report.unexplained] == ["completion that differs from its record"]


def test_of_two_records_of_one_request_each_has_its_own_exchange() -> None:
    """A client sends a request again that failed: it keeps its seed."""

    def failed(wire: Wire, tcp: Tcp) -> None:
        other = Tcp(wire, 40_001)
        other.ask(PROMPT, 3)
        for part in answer_parts(ANSWERS[3][:4], end=False):
            other.send(part, upward=False)
        other.finish()

    failure = record(3, ANSWERS[3][:4], "abort")
    report = accounted(honest(failed).frames, log_of(*ALL, failure))
    assert report.verdict == "clear", report.findings
    assert (report.exchanges.completions, report.exchanges.cut_tokens) == (4, 0)


def test_a_second_completion_of_a_record_is_a_finding() -> None:
    def twice(_: Wire, tcp: Tcp) -> None:
        tcp.ask(PROMPT, 1)
        tcp.answer(ANSWERS[1])

    report = accounted(honest(twice).frames)
    assert [one.name for one in report.unexplained] == ["second completion of a record"]
    assert accounted(honest(twice).frames, log_of(*ALL, ALL[0])).verdict == "clear"


def test_a_greedy_request_has_no_seed() -> None:
    sampling = {"temperature": 0.0, "max_tokens": 128}
    fields = edited(prompt_token_ids=[5], output_token_ids=[6, 7], finish_reason="length", sampling=sampling)
    greedy = encode_record(Record.model_validate(fields))

    def asked(_: Wire, tcp: Tcp) -> None:
        tcp.ask([5], None)
        tcp.answer([6, 7])

    assert accounted(honest(asked).frames, log_of(*ALL, greedy)).verdict == "clear"


def test_an_answer_of_two_requests_is_explained_by_one_record() -> None:
    """The sidecar ended reasoning at its budget: it left the first request, and asked again."""
    segments = [{"kind": kind, "tokens": tokens} for kind, tokens in (("sampled", 3), ("forced", 1), ("sampled", 2))]
    reasoning = {"start": "<think>", "end": "</think>", "budget": 3, "forced_end": "</think>"}
    fields = edited(seed=8, prompt_token_ids=PROMPT, output_token_ids=[11, 12, 13, 9, 21, 22], finish_reason="length")
    forced = encode_record(Record.model_validate({**fields, "segments": segments, "reasoning": reasoning}))

    def asked(wire: Wire, tcp: Tcp) -> None:
        other = Tcp(wire, 40_001)
        other.ask(PROMPT, 8)
        for part in answer_parts([11, 12, 13, 14], end=False):
            other.send(part, upward=False)
        other.reset()
        tcp.ask([*PROMPT, 11, 12, 13, 9], 8)
        tcp.answer([21, 22])

    report = accounted(honest(asked).frames, log_of(*ALL, forced))
    assert report.verdict == "clear", (report.unexplained, report.findings)
    assert (report.exchanges.completions, report.exchanges.cut_tokens) == (5, 1)


def test_an_attempt_that_failed_before_its_first_token_is_explained() -> None:
    def busy(_: Wire, tcp: Tcp) -> None:
        tcp.ask(PROMPT, 3)
        tcp.send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy", upward=False)

    report = accounted(honest(busy).frames)
    assert report.verdict == "clear"
    assert report.exchanges.failed_attempts == 1


def test_what_the_sidecar_drops_is_counted() -> None:
    report = accounted(honest().frames)
    digits = sum(len(",".join(map(str, ids))) for ids in ANSWERS.values())
    assert report.exchanges.response_bytes - report.exchanges.dropped_bytes == digits


@pytest.mark.parametrize("abrupt", [True, False])
def test_tokens_that_were_on_their_way_when_the_sidecar_left_are_cut(abrupt: bool) -> None:
    def left(wire: Wire, _: Tcp) -> None:
        other = Tcp(wire, 40_001)
        parts = answer_parts(ANSWERS[3])
        other.ask(PROMPT, 3)
        for part in parts[:5]:
            other.send(part, upward=False)
        if abrupt:
            other.reset()
        else:
            other.segment(True, ACK | FIN)
        for part in parts[5:8]:
            other.segment(False, ACK, part)
            other.down += len(part)
        other.segment(False, RST)

    aborted = record(3, ANSWERS[3][:4], "abort")
    report = accounted(honest(left).frames, log_of(*ALL, aborted))
    assert report.verdict == "clear", (report.unexplained, report.findings)
    assert report.exchanges.cut_tokens == 3


def test_a_retransmission_and_segments_out_of_order_are_explained() -> None:
    def mixed(wire: Wire, tcp: Tcp) -> None:
        parts = answer_parts(ANSWERS[1])
        other = Tcp(wire, 40_001)
        other.ask(PROMPT, 1)
        other.segment(False, ACK, parts[1], offset=len(parts[0]))
        other.segment(False, ACK, parts[0])
        other.segment(False, ACK, parts[0] + parts[1])
        other.down += len(parts[0] + parts[1])
        for part in parts[2:]:
            other.send(part, upward=False)
        other.finish()

    report = accounted(honest(mixed).frames, log_of(*ALL, ALL[0]))
    assert report.verdict == "clear", report.unexplained
    assert {one.name for one in report.explained} >= {"retransmissions", "segments out of order"}


def test_a_frame_that_the_capture_lacks_is_a_finding() -> None:
    frames = honest().frames
    lost = next(at for at, frame in enumerate(frames) if b"[DONE]" in frame.data)
    later = frames[lost + 1]._replace(time=frames[-1].time + 5)
    report = accounted([*frames[:lost], *frames[lost + 1 :], later])
    assert report.verdict == "unexplained"
    assert [loss.unit for loss in report.losses] == ["bytes"]
    assert "bytes after a gap in the capture" in {one.name for one in report.unexplained}


def test_an_acknowledgement_that_was_captured_before_its_bytes_is_no_loss() -> None:
    frames = honest().frames
    at = next(at for at, frame in enumerate(frames) if b"[DONE]" in frame.data)
    frames[at : at + 2] = [frames[at + 1], frames[at]]
    assert accounted(frames).verdict == "clear"


def test_drop_counters_and_cut_frames_are_findings() -> None:
    frames = honest().frames
    report = accounted([*frames, Loss(7, "dropped by the interface", "a"), Loss(2, "dropped by the interface", "b")])
    assert (report.verdict, report.losses[0].count) == ("watch", 9)
    cut = frames[8]._replace(length=frames[8].length + 100)
    assert accounted([*frames[:8], cut, *frames[9:]]).verdict == "unexplained"


def test_records_that_the_tap_did_not_see_are_findings_between_those_that_it_saw() -> None:
    more = [record(9, [1, 2]), ALL[0], record(10, [3]), record(11, [], "abort"), *ALL[1:]]
    report = accounted(honest().frames, log_of(*more))
    assert report.verdict == "watch"
    assert (report.log.unseen_between, report.log.unseen_outside, report.log.unseen_example) == (1, 1, 2)


def test_heartbeats_show_a_blind_time() -> None:
    wire = honest()
    for gap in (0.9, 1.0, 1.1, 7.0, 1.0):
        wire.now += gap
        wire.beat()
    report = accounted(wire.frames, link=BEATING)
    assert (report.verdict, report.heartbeats.count, report.heartbeats.gaps) == ("watch", 5, 1)
    assert report.heartbeats.longest_seconds == pytest.approx(7.0, abs=0.01)
    steady = accounted([frame for frame in wire.frames if frame.time < wire.now - 2], link=BEATING)
    assert steady.verdict == "clear"


def test_heartbeats_carry_nothing() -> None:
    wire = honest()
    wire.beat()
    wire.beat()
    wire.put(udp(SIDECAR, "239.255.77.77", 9, b"other"))
    wire.put(udp(SERVER, "239.255.77.77", 9, b"weightwarden heartbeat\n"))
    names = {one.name for one in accounted(wire.frames, link=BEATING).unexplained}
    assert names == {"heartbeat before its time", "heartbeat of other content", "UDP datagram"}


def test_an_exchange_that_has_not_ended_is_undecided() -> None:
    wire = honest()
    tcp = Tcp(wire, 40_001)
    tcp.ask(PROMPT, 3)
    tcp.send(answer_parts(ANSWERS[3])[0], upward=False)
    report = accounted(wire.frames)
    assert report.verdict == "watch"
    assert report.exchanges.open == 1
    assert report.undecided[0].frames == 2


def test_a_connection_from_before_the_captures_is_undecided() -> None:
    frames = honest().frames[6:]
    report = accounted(frames)
    assert report.verdict == "watch"
    assert report.undecided[0].frames == len(frames)
    late = accounted([frames[0]._replace(time=frames[0].time - 100), *frames[1:]])
    assert late.verdict == "watch"


def test_a_strange_connection_later_is_unexplained() -> None:
    wire = honest()
    wire.now += 100
    other = Wire(now=wire.now)
    Tcp(other, 40_009).answer([1])
    report = accounted([*wire.frames, *other.frames[3:]])
    assert "segment of no open connection" in {one.name for one in report.unexplained}


@pytest.mark.parametrize("answered", [False, True])
def test_connections_that_are_over_are_forgotten(answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is away for days costs no memory, and makes no frame unexplained."""
    monkeypatch.setattr(account_module, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(account_module, "SWEEP_FRAMES", 16)
    wire = Wire(step=11.0)
    for port in range(200):
        tcp = Tcp(wire, 20_000 + port)
        if answered:
            tcp.segment(False, RST)
        else:
            del wire.frames[-2:]
    account = EgressAccount(BEATING, log_of(ALL[0]))
    account.add(wire.frames)
    assert len(account._connections) <= 8
    assert not report_of(account).unexplained


def test_many_short_connections_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "MAX_CONNECTIONS", 8)
    wire = Wire()
    for port in range(50):
        Tcp(wire, 20_000 + port).finish()
    assert not accounted(wire.frames).unexplained
    for port in range(9):
        Tcp(wire, 30_000 + port)
    assert "more connections than are followed" in {one.name for one in accounted(wire.frames).unexplained}


def test_both_ends_may_have_one_address_on_a_loopback_device() -> None:
    server = Endpoint.parse(f"{SIDECAR}:8000")
    link = Link(sidecars=LINK.sidecars, servers=frozenset({server}), checks_checksums=False)
    frames = honest().frames[2:]
    here = [frame._replace(data=frame.data.replace(SERVER_BYTES, SIDECAR_BYTES, 2)) for frame in frames]
    report = accounted([frame._replace(data=bytes(12) + frame.data[12:]) for frame in here], link=link)
    assert report.verdict == "clear", report.unexplained
    assert "Checksums were not compared" in " ".join(report.notes)
    with pytest.raises(LinkError, match="is the sidecar's and an inference server's"):
        Link(sidecars=LINK.sidecars, servers=frozenset({server}))


def test_frames_out_of_the_order_of_time_are_a_finding() -> None:
    frames = honest().frames
    late = [*frames[:30], *(frame._replace(time=frame.time - 100) for frame in frames[30:])]
    report = accounted(late)
    assert report.verdict == "watch"
    assert f"{len(frames) - 30} frames came out of the order of time" in report.findings[0]


@pytest.mark.parametrize("takes_first", [True, False])
def test_a_server_may_answer_an_opening_again_until_the_sidecar_takes_an_answer(takes_first: bool) -> None:
    def again(wire: Wire, _: Tcp) -> None:
        Tcp(wire, 40_001, down=500 if takes_first else 900)
        ack = wire.frames.pop()
        other = Wire(now=wire.now)
        Tcp(other, 40_001, down=900 if takes_first else 500)
        wire.put(other.frames[0].data)
        wire.put(other.frames[1].data)
        wire.put(ack.data)
        tcp = Tcp(Wire(), 40_001, down=500 if takes_first else 900)
        tcp.wire = wire
        tcp.ask(PROMPT, 8)
        tcp.answer([1, 2, 3])

    records = log_of(*ALL, record(8, [1, 2, 3]))
    report = accounted(honest(again).frames, records)
    assert report.verdict == "clear", report.unexplained

    def later(wire: Wire, tcp: Tcp) -> None:
        tcp.segment(False, SYN | ACK)

    assert "second opening of a connection" in {one.name for one in accounted(honest(later).frames).unexplained}


def test_encryption_is_refused() -> None:
    wire = Wire()
    Tcp(wire).send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", upward=True)
    with pytest.raises(EncryptedLink, match="encrypted"):
        accounted(wire.frames)


def test_no_frame_is_no_clear_result() -> None:
    assert accounted([]).verdict == "watch"


def test_records_may_come_after_their_exchanges() -> None:
    answers = log_of(ALL[0])
    account = EgressAccount(BEATING, answers)
    account.add(honest().frames)
    account.finish()
    assert report_of(account).verdict == "unexplained"
    for index, data in enumerate(ALL[1:], 1):
        answers.add(index, data)
    assert report_of(account).verdict == "clear"
    assert report_of(account).verdict == "clear"


def test_what_is_held_is_bounded_and_released() -> None:
    account = EgressAccount(BEATING, log_of())
    account.add(honest().frames)
    account.finish()
    for key in list(account._connections):
        account._forget(key)
    assert account._memory.held == 0

    small = EgressAccount(BEATING, log_of(), memory_bytes=500)
    small.add(honest().frames)
    assert small._memory.held <= 500
