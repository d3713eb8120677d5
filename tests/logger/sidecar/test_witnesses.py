"""Witnesses beside a sidecar that serves: they delay no answer, and a crash at any moment makes no fork."""

import asyncio
import json
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.free_port import free_port
from tests.logger.sidecar.log.cosigning import keys_of
from tests.logger.sidecar.process import Process, config_file, started
from tests.logger.sidecar.running import ORIGIN, running, settings_in
from tests.logger.sidecar.scripted_upstream import HEAD, Upstream, drawn, event
from tests.logger.witness import Answer, StrictWitness, serving
from weightwarden.logger.archive.check import check_archives
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.files.private import KeyFileError
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.checkpoint import open_checkpoint
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.logger.tlog.merkle import Frontier

KILLS = 12
MOMENTS = ("before it cosigns", "before it answers", "after it answers")


def witness_of(folder: Path, model_folder: Path, name: str) -> StrictWitness:
    """A witness that knows the log of the sidecar in a folder; the log's key is made when new."""
    settings_in(folder, model_folder, "http://127.0.0.1:1")
    key = SigningKey.read(folder / "log.key")
    return StrictWitness(name, {ORIGIN: key.verifier.public})


@pytest.fixture
def witness(tmp_path: Path, model_folder: Path) -> Iterator[StrictWitness]:
    with serving(witness_of(tmp_path, model_folder, "witness.example/w1")) as one:
        yield one


@pytest.fixture
def second(tmp_path: Path, model_folder: Path) -> Iterator[StrictWitness]:
    with serving(witness_of(tmp_path, model_folder, "witness.example/w2")) as one:
        yield one


def listed(folder: Path, *witnesses: StrictWitness) -> Path:
    """The file with the witnesses' keys."""
    path = folder / "witness.keys"
    path.write_text("".join(f"{one.vkey}\n" for one in witnesses))
    return path


def test_a_sidecar_has_its_checkpoints_cosigned_and_seals_them(
    tmp_path: Path, model_folder: Path, upstream: Upstream, witness: StrictWitness, second: StrictWitness
) -> None:
    (tmp_path / "archives").mkdir()
    settings = settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        witness_urls=(witness.url, second.url + "/"),
        witness_keys=listed(tmp_path, witness, second),
        min_witnesses=2,
        checkpoint_every=0.02,
        archives=str(tmp_path / "archives"),
        metrics=Address(host="127.0.0.1", port=free_port()),
    )
    with running(settings) as sidecar:
        for number in range(3):
            assert sidecar.complete([number + 5], max_tokens=4).status_code == 200
        for _ in range(500):
            if (
                LogReader(sidecar.log).cosignatures(2).get(3, [])
                and len(LogReader(sidecar.log).cosignatures(2)[3]) == 2
            ):
                break
            time.sleep(0.01)
        assert settings.metrics is not None
        shown = httpx2.get(f"http://127.0.0.1:{settings.metrics.port}/metrics", trust_env=False).text
    assert 'weightwarden_sidecar_witness_size{witness="2"} 3.0' in shown
    assert 'weightwarden_sidecar_witness_last_cosignature_timestamp_seconds{witness="1"}' in shown
    keys = PublicKeys(SigningKey.read(tmp_path / "log.key").verifier)
    found = check_archives(archive_urls([settings.archives or ""]), keys, quorum=Quorum(keys_of([witness, second]), 2))
    assert found.holds
    assert found.archives[-1].end == 3


def test_the_last_records_are_cosigned_and_sealed_when_the_sidecar_stops(
    tmp_path: Path, model_folder: Path, upstream: Upstream, witness: StrictWitness
) -> None:
    (tmp_path / "archives").mkdir()
    settings = settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        witness_urls=(witness.url,),
        witness_keys=listed(tmp_path, witness),
        min_witnesses=1,
        archives=str(tmp_path / "archives"),
    )
    with running(settings) as sidecar:
        assert sidecar.complete([5], max_tokens=4).status_code == 200
    assert [size for size, _ in witness.cosigned[ORIGIN]] == [1]
    assert [end for _, end, _ in LogReader(settings.log).archives()] == [1]


def test_a_witness_that_never_answers_delays_no_answer_and_no_seal(
    tmp_path: Path, model_folder: Path, upstream: Upstream, witness: StrictWitness
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hanging(_: bytes) -> Answer:
        asked.set()
        release.wait(60)
        return 500, {}, b""

    witness.instead = hanging
    (tmp_path / "archives").mkdir()
    settings = settings_in(
        tmp_path,
        model_folder,
        upstream.url,
        witness_urls=(witness.url,),
        witness_keys=listed(tmp_path, witness),
        witness_timeout=0.5,
        checkpoint_every=0.02,
        archives=str(tmp_path / "archives"),
    )
    with running(settings) as sidecar:
        assert sidecar.complete([5], max_tokens=4).status_code == 200
        assert asked.wait(30)
        assert sidecar.complete([6], max_tokens=4).status_code == 200  # while the witness has not answered
        said = sidecar.await_event("witness failed")
    release.set()
    assert (said["witness"], said["cause"]) == (1, "timeout")
    assert LogReader(settings.log).archives()[-1][1] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"witness_urls": ("http://127.0.0.1:1",)}, "witnesses need both"),
        ({"witness_keys": Path("keys")}, "witnesses need both"),
        ({"min_witnesses": 1}, "there are no witnesses"),
        ({"witness_urls": ("http://a:b@c",), "witness_keys": Path("keys")}, "witness 1: its URL"),
        ({"witness_urls": ("http://a",), "witness_keys": Path("/nowhere")}, "cannot be read"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_opened(
    tmp_path: Path, model_folder: Path, more: dict[str, Any], message: str
) -> None:
    settings = settings_in(tmp_path, model_folder, "http://127.0.0.1:1", **more)
    with pytest.raises((SettingsError, KeyFileError), match=message), opened(settings):
        pass
    assert not Path(settings.log).exists()


def test_more_cosignatures_than_witnesses_are_refused(
    tmp_path: Path, model_folder: Path, witness: StrictWitness
) -> None:
    settings = settings_in(
        tmp_path,
        model_folder,
        "http://127.0.0.1:1",
        witness_urls=(witness.url,),
        witness_keys=listed(tmp_path, witness),
        min_witnesses=2,
    )
    with (
        pytest.raises(SettingsError, match="2 cosignatures are required, and 1 witnesses are listed"),
        opened(settings),
    ):
        pass


async def quick(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield HEAD
    ids = drawn(body)
    for at, token in enumerate(ids):
        yield event([token], "length" if at == len(ids) - 1 else None)
        await asyncio.sleep(0)


class Killer:
    """One SIGKILL of a sidecar, at a moment of the request with a number, counted over all witnesses."""

    def __init__(self, process: Process, number: int, moment: str, delay: float) -> None:
        self._process, self._number, self.moment, self._delay = process, number, moment, delay
        self._count = 0
        self._timer = threading.Timer(delay, self._kill)

    def answer(self, witness: StrictWitness, body: bytes) -> Answer:
        """A witness's answer. The sidecar is killed before the witness cosigns, before it answers, or after that."""
        with witness.turn:
            self._count += 1
            now = self._count == self._number
            if now and self.moment == "before it cosigns":
                self._kill()
            answer = witness.add_checkpoint(body)
        if now and self.moment == "before it answers":
            self._kill()
        if now and self.moment == "after it answers":
            self._timer.start()
        return answer

    def join(self) -> None:
        """Wait until nothing is killed any more."""
        if self._timer.ident is not None:
            self._timer.join()

    def _kill(self) -> None:
        self._process.process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_killed_at_any_moment_of_the_traffic_with_witnesses_it_loses_nothing_and_makes_no_fork(
    tmp_path: Path,
    model_folder: Path,
    upstream: Upstream,
    witness: StrictWitness,
    second: StrictWitness,
) -> None:
    """Each kill is at a random request to a witness: before it cosigns, before it answers, or shortly after that."""
    upstream.answer = quick
    (tmp_path / "archives").mkdir()
    config = config_file(
        tmp_path,
        model_folder,
        upstream.url,
        witness_url=[witness.url, second.url],
        witness_key=str(listed(tmp_path, witness, second)),
        min_witnesses=1,
        archives=str(tmp_path / "archives"),
        checkpoint_every=0.01,
        seal_every=0.1,
    )
    rng = random.Random(21)
    confirmed: list[list[int]] = []
    moments: set[str] = set()
    log = ""
    for kill in range(KILLS):
        process = started(config)
        log = process.log
        killer = Killer(process, rng.randrange(2, 30), rng.choice(MOMENTS), rng.uniform(0, 0.01))
        witness.instead, second.instead = partial(killer.answer, witness), partial(killer.answer, second)
        with httpx2.Client(base_url=process.url, trust_env=False, timeout=30) as client:
            for number in range(10_000):
                prompt = [10 + kill, 100 + number]
                try:
                    answer = client.post("/v1/completions", json={"model": "small", "prompt": prompt, "max_tokens": 3})
                except httpx2.TransportError:
                    break
                assert answer.status_code == 200
                confirmed.append(prompt)
        assert process.process.wait(30) == -signal.SIGKILL
        killer.join()
        moments.add(killer.moment)
        witness.instead = second.instead = None
        reader = LogReader(log)
        for one in (witness, second):
            for size, root in one.cosigned.get(ORIGIN, [])[-1:]:
                assert reader.frontier(size).root() == root
    process = started(config)
    httpx2.post(
        f"{process.url}/v1/completions",
        json={"model": "small", "prompt": [9], "max_tokens": 3},
        trust_env=False,
        timeout=30,
    )
    assert process.stop(signal.SIGTERM) == 0
    assert len(moments) > 1
    assert len(confirmed) >= KILLS
    reader = LogReader(log)
    size = _no_fork(tmp_path, log, witness, second)
    for one in (witness, second):  # both agree with the whole log
        assert one.cosigned[ORIGIN][-1] == (size, reader.frontier(size).root())
    logged = {tuple(decode_record(entry).prompt_token_ids) for entry in reader.entries(0, size)}
    assert {tuple(prompt) for prompt in confirmed} <= logged
    keys = PublicKeys(SigningKey.read(tmp_path / "log.key").verifier)
    found = check_archives(
        archive_urls([str(tmp_path / "archives")]), keys, quorum=Quorum(keys_of([witness, second]), 2)
    )
    assert [finding.kind for finding in found.findings] == []
    assert found.newest == found.archives[-1].checkpoint
    assert found.archives[-1].end == size
    events = [json.loads(line) for line in process.said.read_text().splitlines()]
    assert {one["cause"] for one in events if one["event"] == "witness failed"} <= {"unreachable"}


def _no_fork(folder: Path, log: str, *witnesses: StrictWitness) -> int:
    """The log's size, after everything that a witness cosigned, or a checkpoint certifies, was found in it."""
    reader, tree = LogReader(log), Frontier()
    keys = PublicKeys(SigningKey.read(folder / "log.key").verifier)
    size = reader.audit(root_of=lambda note: open_checkpoint(note, keys).root).size
    signed = {at for at, _ in reader.checkpoints()}
    cosigned = {pair for witness in witnesses for pair in witness.cosigned.get(ORIGIN, [])}
    assert {at for at, _ in cosigned} <= signed
    for leaf in reader.leaf_hashes(0, size):
        tree.append(leaf)
        cosigned.discard((tree.size, tree.root()))
    assert cosigned == set()
    return size
