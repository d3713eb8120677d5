"""Witnesses cosign the log's checkpoints; a faulty one is named, and stops nothing."""

import base64
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN, checkpoint_at
from tests.logger.sidecar.log.cosigning import cosigning, keys_of
from tests.logger.store.examples import disarmed, raw_sql
from tests.logger.witness import Answer, StrictWitness, serving
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.errors import ArchiveUnreadable
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.rollover import roll_over
from weightwarden.logger.sealing import NotCosigned, seal
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.log.consistency import proof_of_growth
from weightwarden.logger.sidecar.log.cosigner import MAX_WAIT
from weightwarden.logger.sidecar.log.witness_client import checked_url
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.proofs import ProofError, verify_consistency

LOGS = {ORIGIN: KEY.verifier.public}
OK = {"content-type": "text/plain"}
SIZE = {"content-type": "text/x.tlog.size"}


@pytest.fixture
def witness() -> Iterator[StrictWitness]:
    with serving(StrictWitness("witness.example/w1", LOGS)) as one:
        yield one


@pytest.fixture
def second() -> Iterator[StrictWitness]:
    with serving(StrictWitness("witness.example/w2", LOGS)) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "archives").mkdir()
    return str(tmp_path / "archives")


def text_of(body: bytes) -> bytes:
    """The text of the checkpoint in a request."""
    return body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"


def test_every_checkpoint_is_cosigned_with_a_proof_from_the_one_before(
    tmp_path: Path, witness: StrictWitness, second: StrictWitness
) -> None:
    with cosigning(tmp_path, witness, second) as log:
        for count in (1, 2, 4, 1, 8, 13):
            log.grow(count)
        assert log.failures == []
    expected = [(size, checkpoint_at(size).root) for size in (1, 3, 7, 8, 16, 29)]
    assert witness.cosigned == second.cosigned == {ORIGIN: expected}
    assert witness.refusals == second.refusals == []
    assert log.recorded() == {size: ["witness.example/w1", "witness.example/w2"] for size, _ in expected}


def test_without_new_records_nothing_is_sent_and_the_cosignature_stays_fresh(
    tmp_path: Path, witness: StrictWitness
) -> None:
    shown = "weightwarden_sidecar_witness_last_cosignature_timestamp_seconds"
    with cosigning(tmp_path, witness) as log:
        times = iter(range(1000, 2000))
        log.cosigner.clock = lambda: float(next(times))
        for _ in range(3):
            log.notarize()
            assert log.metrics.registry.get_sample_value(shown, {"witness": "1"}) == next(times) - 1
        assert witness.cosigned == {}


def test_after_a_restart_the_witness_states_where_it_is(tmp_path: Path, witness: StrictWitness) -> None:
    with cosigning(tmp_path, witness) as log:
        log.grow(5)
    with cosigning(tmp_path, witness) as log:
        log.grow(6)
        assert log.failures == []
    assert witness.refusals == [409]
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [5, 11]


def test_a_checkpoint_that_was_cosigned_and_not_recorded_is_cosigned_again(
    tmp_path: Path, witness: StrictWitness
) -> None:
    with cosigning(tmp_path, witness) as log:
        log.append(5)
        log.checkpointer.certify()
        assert log.checkpointer.newest is not None
        assert witness.add_checkpoint(b"old 0\n\n" + log.checkpointer.newest[1])[0] == 200  # the process died here
    with cosigning(tmp_path, witness) as log:
        log.notarize()
        assert log.failures == []
        assert log.recorded() == {5: ["witness.example/w1"]}


def test_a_witness_that_was_away_gets_a_proof_over_all_that_it_missed(tmp_path: Path, witness: StrictWitness) -> None:
    with cosigning(tmp_path, witness) as log:
        log.grow(3)
        witness.instead = lambda _: (503, {}, b"")
        log.grow(5)
        log.clock.now += MAX_WAIT
        log.grow(9)
        assert [one["cause"] for one in log.failures] == ["answer"]  # reported once
        assert log.failed("answer") == 2
        witness.instead = None
        log.clock.now += MAX_WAIT
        log.grow(1)
        assert log.said.getvalue().count('"witness recovered"') == 1
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [3, 18]


def test_a_failing_witness_is_asked_ever_less_often(tmp_path: Path, witness: StrictWitness) -> None:
    asked: list[float] = []

    def failing(_: bytes) -> Answer:
        asked.append(log.clock.now)
        return 500, {}, b""

    witness.instead = failing
    with cosigning(tmp_path, witness) as log:
        log.append(1)
        for second in range(3000):
            log.clock.now = float(second)
            log.notarize()
    waits = [after - before for before, after in pairwise(asked)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]
    assert log.failed("answer") == len(asked)


def _with_time(shift: float) -> Callable[[StrictWitness, bytes], Answer]:
    return lambda witness, body: (200, OK, witness.line(text_of(body), int(time.time() + shift)))


def _another_text(witness: StrictWitness, body: bytes) -> Answer:
    return 200, OK, witness.line(text_of(body).replace(b"\n5\n", b"\n6\n"))


def _twice(witness: StrictWitness, body: bytes) -> Answer:
    return 200, OK, witness.line(text_of(body)) * 2


def _stranger(_: StrictWitness, body: bytes) -> Answer:
    return 200, OK, StrictWitness("witness.example/w1", LOGS).line(text_of(body))


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (lambda w, b: (200, OK, b""), "answer"),
        (lambda w, b: (200, OK, b"\xff\xfe"), "answer"),
        (lambda w, b: (200, OK, b"garbage\n"), "answer"),
        (lambda w, b: (200, OK, b), "answer"),
        (lambda w, b: (200, OK, w.line(text_of(b)) * 4000), "answer"),
        (lambda w, b: (200, OK, b"x" * 10_000_000), "answer"),
        (lambda w, b: (200, OK | {"content-encoding": "gzip"}, w.line(text_of(b))[:-1]), "answer"),
        (_twice, "answer"),
        (_another_text, "signature"),
        (_stranger, "signature"),
        (_with_time(-3600), "time"),
        (_with_time(+3600), "time"),
        (_with_time(-1e9), "time"),
        (lambda w, b: (302, {"location": f"{w.url}/elsewhere"}, b""), "answer"),
        (lambda w, b: (307, {"location": f"{w.url}/add-checkpoint"}, b""), "answer"),
        (lambda w, b: (400, {}, b""), "refused"),
        (lambda w, b: (403, {}, b""), "refused"),
        (lambda w, b: (404, {}, b"a" * 10_000_000), "refused"),
        (lambda w, b: (422, {}, b""), "proof"),
        (lambda w, b: (500, {}, b""), "answer"),
        (lambda w, b: (409, {}, b"3\n"), "answer"),
        (lambda w, b: (409, SIZE, b"three\n"), "answer"),
        (lambda w, b: (409, SIZE, b"3" * 10_000_000), "answer"),
        (lambda w, b: (409, SIZE, b"0\n"), "size"),
        (lambda w, b: (409, SIZE, b"2\n"), "size"),
        (lambda w, b: (409, SIZE, b"5\n"), "fork"),
        (lambda w, b: (409, SIZE, b"6\n"), "fork"),
        (lambda w, b: (409, SIZE, b"9223372036854775807\n"), "fork"),
    ],
)
def test_a_hostile_answer_is_named_and_nothing_of_it_recorded(
    tmp_path: Path,
    witness: StrictWitness,
    second: StrictWitness,
    answer: Callable[[StrictWitness, bytes], Answer],
    cause: str,
) -> None:
    asked: list[bytes] = []

    def instead(body: bytes) -> Answer:
        asked.append(body)
        return answer(witness, body)

    witness.instead = instead
    with cosigning(tmp_path, witness, second) as log:
        log.grow(5)
        assert [(one["witness"], one["cause"]) for one in log.failures] == [(1, cause)]
        assert witness.url not in log.said.getvalue()
        assert log.failed(cause) == 1
        assert log.recorded() == {5: ["witness.example/w2"]}
        assert len(asked) <= 2


def test_a_witness_that_forgot_what_it_cosigned_is_named(tmp_path: Path, witness: StrictWitness) -> None:
    with cosigning(tmp_path, witness) as log:
        log.grow(3)
        log.grow(4)
        del witness.cosigned[ORIGIN][1]
        log.grow(2)
        assert [one["cause"] for one in log.failures] == ["size"]
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [3]


def test_a_witness_that_cosigned_another_history_is_named_as_a_fork(tmp_path: Path, witness: StrictWitness) -> None:
    witness.cosigned[ORIGIN] = [(5, bytes(32))]
    with cosigning(tmp_path, witness) as log:
        log.grow(5)
        assert [one["cause"] for one in log.failures] == ["fork"]
        log.clock.now += MAX_WAIT
        log.grow(5)
        assert [one["cause"] for one in log.failures] == ["fork", "proof"]
        assert log.recorded() == {}


@pytest.mark.parametrize("headers", [{"content-length": "1000"}, {"content-length": "1000", "x": "y"}])
def test_a_slow_witness_is_given_up_and_delays_no_other(
    tmp_path: Path, witness: StrictWitness, second: StrictWitness, headers: dict[str, str]
) -> None:
    ended = threading.Event()

    def slow(_: bytes) -> Answer:
        return 200, headers, b"\xe2"  # 999 bytes never come

    witness.instead = slow
    with cosigning(tmp_path, witness, second, timeout=0.3) as log:
        log.grow(5)
        ended.set()
        assert [(one["witness"], one["cause"]) for one in log.failures] == [(1, "timeout")]
        assert log.recorded() == {5: ["witness.example/w2"]}


def test_a_witness_without_a_valid_certificate_gets_no_checkpoint(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with serving(StrictWitness("witness.example/w1", LOGS), context) as witness:
        with cosigning(tmp_path, witness) as log:
            log.grow(5)
            assert [one["cause"] for one in log.failures] == ["unreachable"]
            assert "Certificate" in log.failures[0]["why"]
        assert witness.cosigned == {}


def test_an_absent_witness_is_named(tmp_path: Path) -> None:
    with serving(StrictWitness("witness.example/w1", LOGS)) as witness:
        pass
    with cosigning(tmp_path, witness) as log:
        log.grow(5)
        assert [one["cause"] for one in log.failures] == ["unreachable"]


def test_an_archive_bears_the_cosignatures_and_auditors_require_them(
    tmp_path: Path, folder: str, witness: StrictWitness, second: StrictWitness
) -> None:
    with cosigning(tmp_path, witness, second, archives=folder) as log:
        log.grow(5)
        log.checkpointer.seal()
        log.append(2)
        log.notarize()
        log.append(3)  # signed at sealing, and not cosigned
        log.checkpointer.seal()
    assert [(start, end) for start, end, _ in LogReader(log.checkpointer.url).archives()] == [(0, 5), (5, 7)]
    listed = keys_of([witness, second])
    found = check_archives(archive_urls([folder]), KEYS, quorum=Quorum(listed, 2))
    assert found.holds
    assert [one.witness.name for one in found.cosignatures] == ["witness.example/w1", "witness.example/w2"]
    stranger = keys_of([witness, StrictWitness("witness.example/w3", LOGS)])
    assert [f.kind for f in check_archives(archive_urls([folder]), KEYS, quorum=Quorum(stranger, 2)).findings] == [
        "cosignature"
    ]


def test_without_a_demand_records_are_sealed_without_witnesses(tmp_path: Path, folder: str) -> None:
    with serving(StrictWitness("witness.example/w1", LOGS)) as witness:
        pass
    with cosigning(tmp_path, witness, archives=folder) as log:
        log.grow(5)
        log.checkpointer.seal()
    quorum = Quorum(keys_of([witness]), 1)
    found = check_archives(archive_urls([folder]), KEYS, quorum=quorum)
    assert [(f.kind, f.what) for f in found.findings] == [
        ("cosignature", "0 of 1 witnesses cosigned it (none), and 1 are required")
    ]
    assert check_archives(archive_urls([folder]), KEYS).holds


def test_with_a_demand_records_wait_for_their_cosignatures(
    tmp_path: Path, folder: str, witness: StrictWitness, second: StrictWitness
) -> None:
    with cosigning(tmp_path, witness, second, archives=folder, min_witnesses=2) as log:
        log.grow(4)
        second.instead = lambda _: (503, {}, b"")
        log.grow(3)
        log.checkpointer.seal()
        assert [end for _, end, _ in LogReader(log.checkpointer.url).archives()] == [4]
        with pytest.raises(NotCosigned, match="records 4 to 6 are not sealed: no checkpoint of them has 2"):
            log.checkpointer.seal()
        with pytest.raises(NotCosigned):
            seal(log.checkpointer.url, folder, [KEY], min_witnesses=2)
        second.instead = None
        log.clock.now += MAX_WAIT
        log.notarize()
        log.checkpointer.seal()
    assert [end for _, end, _ in LogReader(log.checkpointer.url).archives()] == [4, 7]


def test_a_forged_row_of_the_database_gets_into_no_archive(
    tmp_path: Path, folder: str, witness: StrictWitness, second: StrictWitness
) -> None:
    with cosigning(tmp_path, witness) as log:
        log.grow(4)
        forged = second.line(checkpoint_at(3).text().encode()).decode()
        log.writer.add_cosignature(4, second.vkey, forged)
    (sealed,) = seal(log.checkpointer.url, folder, [KEY])
    assert [
        one.witness.name for one in keys_of([witness, second]).cosignatures(read_archive(sealed.url, KEYS).note)
    ] == ["witness.example/w1"]


def test_a_cosignature_is_recorded_once_and_only_of_a_recorded_checkpoint(tmp_path: Path) -> None:
    witness = StrictWitness("witness.example/w1", LOGS)
    with cosigning(tmp_path) as log:
        log.append(2)
        log.checkpointer.certify()
        line = witness.line(checkpoint_at(2).text().encode()).decode()
        assert log.writer.add_cosignature(2, witness.vkey, line)
        assert not log.writer.add_cosignature(2, witness.vkey, line)
        assert not log.writer.add_cosignature(1, witness.vkey, line)
        assert log.recorded() == {2: ["witness.example/w1"]}


def test_no_proof_is_sent_for_a_database_that_was_changed(tmp_path: Path, witness: StrictWitness) -> None:
    with cosigning(tmp_path, witness) as log:
        log.grow(3)
        log.append(4)
        disarmed(log.checkpointer.url)
        raw_sql(log.checkpointer.url, 'UPDATE entry SET leaf_hash = zeroblob(32) WHERE "index" = 5')
        log.notarize()
        assert [one["cause"] for one in log.failures] == ["log"]
        assert "does not lead" in log.failures[0]["why"]
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [3]


def test_records_that_left_the_database_are_read_from_their_archives(tmp_path: Path, folder: str) -> None:
    with cosigning(tmp_path, archives=folder) as log:
        for end in (5, 6, 13):
            log.append(end - log.writer.size)
            log.checkpointer.seal()
        log.append(4)
        log.checkpointer.certify()
        url = log.checkpointer.url
    assert roll_over(url, [folder], KEYS, keep=0).start == 13
    reader = LogReader(url)
    for old in range(1, 17):
        proof = proof_of_growth(reader, old, checkpoint_at(17), KEYS)
        roots = {"old_root": checkpoint_at(old).root, "new_root": checkpoint_at(17).root}
        verify_consistency(old_size=old, new_size=17, proof=proof, **roots)
    for old in range(1, 13):
        assert proof_of_growth(reader, old, checkpoint_at(13), KEYS)
    with pytest.raises(ProofError):
        proof_of_growth(reader, 7, checkpoint_at(17, [*ENTRIES[:15], *ENTRIES[20:]]), KEYS)
    (tmp_path / "archives" / f"{5:012}-{6:012}.parquet").unlink()
    with pytest.raises(ArchiveUnreadable):
        proof_of_growth(reader, 3, checkpoint_at(17), KEYS)
    assert proof_of_growth(reader, 6, checkpoint_at(17), KEYS)


def test_a_witness_that_was_away_during_a_rollover_catches_up(
    tmp_path: Path, folder: str, witness: StrictWitness
) -> None:
    with cosigning(tmp_path, witness, archives=folder) as log:
        log.checkpointer.keep_sealed = 0
        log.grow(3)
        witness.instead = lambda _: (503, {}, b"")
        for _ in range(3):
            log.clock.now += MAX_WAIT
            log.grow(4)
            log.checkpointer.seal()
        assert LogReader(log.checkpointer.url).segment_start().size == 15
        witness.instead = None
        log.clock.now += MAX_WAIT
        log.grow(2)
        assert [one["cause"] for one in log.failures] == ["answer"]
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [3, 17]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://witness.example",
        "witness.example",
        "https://",
        "https://user:secret@witness.example",
        "https://witness.example?key=secret",
        "https://witness.example#x",
        "https://witness.example:99999",
        "https://[witness",
    ],
)
def test_a_wrong_url_is_named_by_its_number(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^witness 2: its URL is") as raised:
        checked_url(url, 2)
    assert "secret" not in str(raised.value)
    assert checked_url("https://witness.example/prefix/", 2) == "https://witness.example/prefix"


def test_the_request_is_what_the_specification_says(tmp_path: Path, witness: StrictWitness) -> None:
    bodies: list[bytes] = []

    def noting(body: bytes) -> Answer:
        bodies.append(body)
        return witness.add_checkpoint(body)

    witness.instead = noting
    with cosigning(tmp_path, witness) as log:
        log.grow(3)
        log.grow(4)
        assert log.checkpointer.newest is not None
        note = log.checkpointer.newest[1]
    head, _, rest = bodies[1].partition(b"\n\n")
    assert rest == note
    first, *hashes = head.split(b"\n")
    assert first == b"old 3"
    assert [len(base64.b64decode(one, validate=True)) for one in hashes] == [32] * 4
