"""A witness that others wrote and published: aics-witness of PyPI (c2sp.org/tlog-witness v1.1.0)."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from benchmarks.free_port import free_port
from tests.logger.archive.examples import ENTRIES, KEY, KEYS, ORIGIN
from tests.logger.sidecar.log.cosigning import Cosigning, cosigning
from tests.logger.witness import StrictWitness
from tests.published_wheels import required_wheels
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.sidecar.log.cosigner import MAX_WAIT, Cosigner
from weightwarden.logger.tlog.cosignature import Quorum, WitnessKey, WitnessKeys

pytestmark = pytest.mark.slow

WHEELS = (
    "aics-witness==0.1.0 --hash=sha256:cd3f5acd2e79a8e29411a5a810b65ad7c5709d468cf1e889533bb0d5e5fe8400",
    "aics-tlog==0.2.1 --hash=sha256:e8cd2be003001576353bbd1a139b68252baf85df8e5d356c5ff26f3c417efdfc",
)
START_SECONDS = 60.0


@dataclass
class PublishedWitness:
    """The published witness, with its files in a folder."""

    folder: Path
    url: str = ""
    vkey: str = ""

    def run(self, module: str, *arguments: str) -> str:
        """The output of one of its commands."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        wheels = required_wheels("aics-witness-0.1.0", *WHEELS)
        return {**os.environ, "PYTHONPATH": str(wheels), "AICS_WITNESS_CONFIG": str(self.folder / "witness.json")}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """It listens within the block."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "aics_witness", "serve", "--listen", f"127.0.0.1:{port}"]
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not self._answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "said").read_text())
                time.sleep(0.02)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz", trust_env=False, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def size(self) -> int:
        """Number of records of the log that it cosigned."""
        (log,) = json.loads(self.run("aics_witness", "status", "--json"))["logs"]
        return int(log["size"])


@pytest.fixture
def witness(tmp_path: Path) -> PublishedWitness:
    folder = tmp_path / "witness"
    folder.mkdir()
    made = PublishedWitness(folder)
    made.vkey = made.run("aics_witness", "init", "--name", "witness.example.org/w1").split()[0]
    made.run("aics_witness", "add-log", "--origin", ORIGIN, "--vkey", str(KEY.verifier))
    return made


def pointed_at(log: Cosigning, witness: PublishedWitness) -> Cosigner:
    """A cosigner of the log that asks the published witness."""
    return Cosigner(
        url=log.cosigner.url,
        log=log.writer,
        public_keys=KEYS,
        urls=[witness.url],
        witness_keys=WitnessKeys(WitnessKey.parse(witness.vkey)),
        timeout=30,
        metrics=log.metrics,
        events=log.cosigner.events,
        monotonic=log.clock,
    )


def test_it_cosigns_a_growing_log_and_both_sides_verify(tmp_path: Path, witness: PublishedWitness) -> None:
    (tmp_path / "archives").mkdir()
    archives = str(tmp_path / "archives")
    with cosigning(tmp_path, archives=archives, min_witnesses=1) as log:
        with witness.serving():
            log.cosigner = pointed_at(log, witness)
            for count in (1, 2, 4, 1, 8):
                log.grow(count)
            log.checkpointer.seal()
        log.clock.now += MAX_WAIT
        with witness.serving():  # started anew, on another port
            log.cosigner = pointed_at(log, witness)
            for count in (5, 3):
                log.grow(count)
            log.checkpointer.seal()
        assert log.failures == []
        assert log.recorded() == {size: ["witness.example.org/w1"] for size in (1, 3, 7, 8, 16, 21, 24)}
    assert witness.size() == 24
    quorum = Quorum(WitnessKeys(WitnessKey.parse(witness.vkey)), 1)
    found = check_archives(archive_urls([archives]), KEYS, quorum=quorum)
    assert (found.holds, len(found.archives), len(found.cosignatures)) == (True, 2, 1)

    note = witness.folder / "checkpoint"
    note.write_bytes(read_archive(found.archives[-1].url, KEYS).note)
    keys = ("--log-key", str(KEY.verifier), "--witness-key", witness.vkey, "--quorum", "1")
    theirs = json.loads(
        witness.run("aics_tlog", "verify-checkpoint", "--note", "checkpoint", "--origin", ORIGIN, *keys)
    )
    assert (theirs["ok"], theirs["witnesses"]) == (True, ["witness.example.org/w1"])


def test_it_refuses_the_second_of_two_histories(tmp_path: Path, witness: PublishedWitness) -> None:
    """The attack of an operator who holds the signing key and writes two logs of one name."""
    with witness.serving():
        for name in ("shown", "hidden"):
            (tmp_path / name).mkdir()
            with cosigning(tmp_path / name) as log:
                log.cosigner = pointed_at(log, witness)
                if name == "hidden":
                    for entry in reversed(ENTRIES[:9]):
                        log.writer.append(entry).result(60)
                    log.notarize()
                else:
                    log.grow(7)
                assert [one["cause"] for one in log.failures] == (["size"] if name == "hidden" else [])
                assert bool(log.recorded()) == (name == "shown")
    assert witness.size() == 7


def test_the_tests_own_witness_answers_like_the_published_one(tmp_path: Path, witness: PublishedWitness) -> None:
    ours = StrictWitness("ours", {ORIGIN: KEY.verifier.public})
    with cosigning(tmp_path) as log, witness.serving():
        log.append(5)
        log.checkpointer.certify()
        assert log.checkpointer.newest is not None
        note = log.checkpointer.newest[1]
        other = note.replace(ORIGIN.encode(), b"example.org/other")
        for body in (
            b"old 6\n\n" + note,
            b"old 3\n\n" + note,
            b"old 0\n\n" + other,
            b"old 0\n\n" + note[:-9] + b"AAAAAAA=\n",
            b"old 00\n\n" + note,
            b"new 0\n\n" + note,
            b"old 0\n" + note,
            b"old 0\n" + b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n" * 64 + b"\n" + note,
            b"old 0\n\n" + note,
            b"old 5\n\n" + note,
            b"old 4\n\n" + note,
            b"",
        ):
            theirs = httpx2.post(f"{witness.url}/add-checkpoint", content=body, trust_env=False, timeout=30)
            status, _, answer = ours.add_checkpoint(body)
            assert theirs.status_code == status, body
            if status == 409:
                assert (theirs.content, theirs.headers["content-type"]) == (answer, "text/x.tlog.size")
