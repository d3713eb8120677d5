"""The whole: a real vLLM, the sidecar before it, and the verification server behind; honest, and then not."""

import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from scipy.stats import binom

from tests.logger.sidecar import process as sidecar_process
from tests.verifier.server import process as verifier_process
from tests.verifier.server.running import settings_in
from tests.vllm.commands import CONTEXT
from tests.vllm.tampering_proxy import hides_bytes, tampering_proxy, unchanged
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.statistics.e_process import records_to_alarm
from weightwarden.verifier.verification.series_monitor import CONDITIONAL_SHARE, honest_limits

pytestmark = pytest.mark.vllm

TOKENS = 12
SHARE = 0.02
HONEST_REQUESTS = 150
MAX_REQUESTS = 2500
WATCH_LEVEL = 1e-3
"""Probability, at most, that the honest part of a run enters the state watch: seeds differ in each run."""
FALSE_ALARM = 1e-4
SUBJECTS = ("rain", "magnets", "bread", "the moon", "bicycles", "salt", "owls", "glass", "maps", "chess", "wool", "tea")


@dataclass
class Upstream:
    """A server that tampers with a share of the answers once it is told to."""

    rng: random.Random = field(default_factory=lambda: random.Random(11))
    on: bool = False
    tampered: int = 0

    def __call__(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.on or self.rng.random() >= SHARE:
            return unchanged(events)
        self.tampered += 1
        return hides_bytes(events)


class Load:
    """Requests of many clients."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=300, trust_env=False)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def run(self, requests: int) -> None:
        """Send so many, sixteen at a time."""
        with ThreadPoolExecutor(16) as pool:
            for answer in pool.map(self._ask, range(self._count, self._count + requests)):
                answer.raise_for_status()
        self._count += requests

    def _ask(self, number: int) -> httpx2.Response:
        prompt = f"{number}. Something about {SUBJECTS[number % len(SUBJECTS)]}:"
        asked = {"model": "small", "prompt": prompt, "max_tokens": TOKENS, "top_p": 0.95, "top_k": 50}
        return self._client.post("/v1/completions", json=asked)


@dataclass
class Seen:
    """The states that a server was in, one after the other, and the reasons that it gave."""

    states: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, status: dict[str, Any]) -> None:
        if self.states[-1:] != [status["state"]]:
            self.states.append(status["state"])
        for one in status["reasons"]:
            said = f"{one['kind']} ({one['level']}): {one['what']}"
            if said not in self.reasons:
                self.reasons.append(said)

    def why(self, server: verifier_process.Process) -> str:
        """All that tells how a state came about: reasons, the monitor, flagged and unverifiable records."""
        status = server.get("status")
        lines = [f"states: {self.states}", *self.reasons, str(status["monitor"]), str(status["audit"])]
        for kind in ("flagged", "unverifiable"):
            verdicts = server.get(f"verdicts?{kind}=true")["verdicts"]
            lines += [f"{kind}: {server.get('records/' + str(verdict['position']))}" for verdict in verdicts]
        return "\n".join(lines)


@contextmanager
def watching(server: verifier_process.Process, seen: Seen) -> Iterator[None]:
    """Note every state that the server was in."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            seen.add(server.get("status"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def wait_until_audited(server: verifier_process.Process, records: int) -> dict[str, Any]:
    """The state once so many records have a verdict."""
    while True:
        status: dict[str, Any] = server.get("status")
        if status["audit"]["audited_records"] >= records:
            return status
        time.sleep(0.5)


def predicted_records(policy: Policy) -> float:
    """Records until the alarm, by the statistics module, if flagged records were all the evidence."""
    honest = honest_limits(policy)["flagged"]
    return records_to_alarm(
        honest + SHARE, honest_rate=honest, alarm_level=FALSE_ALARM * (1 - CONDITIONAL_SHARE), most_per_token=1.0
    )


@contextmanager
def sidecar_before(
    server: VllmClient, upstream: str, model_folder: Path, folder: Path
) -> Iterator[sidecar_process.Process]:
    """A sidecar that writes archives into a folder, with its public key beside them; stopped by the test, or killed."""
    (folder / "archives").mkdir(parents=True)
    options = {"upstream-model": server.served_model()[0], "max-model-len": CONTEXT, "seal-every": 2.0}
    options |= {"checkpoint-every": 1.0, "archives": str(folder / "archives")}
    config = sidecar_process.config_file(folder, model_folder, upstream, **options)
    settings_in(folder)
    (folder / "log.pub").write_text(f"{SigningKey.read(folder / 'log.key').verifier}\n")
    sidecar = sidecar_process.started(config)
    try:
        yield sidecar
    finally:
        sidecar.process.kill()


def test_honest_load_stays_clear_and_two_percent_of_stolen_answers_are_an_alarm(
    server: VllmClient, model_folder: Path, bundled_policy: Policy, tmp_path: Path
) -> None:
    """The load is unlike the policy's calibration: its prompts leave more tokens likely, so that more mismatch."""
    folder = tmp_path / "series"
    upstream = Upstream()
    with (
        tampering_proxy(server.url, upstream) as proxy,
        sidecar_before(server, proxy, model_folder, folder) as sidecar,
        ExitStack() as closing,
    ):
        verifier = verifier_process.started(
            folder,
            str(folder / "verdicts.db"),
            "verifier",
            *("--audit-rate", 1, "--poll-interval", 1, "--batch-records", 16, "--max-record-weight", TOKENS),
            *("--max-model-len", CONTEXT, "--watch-level", WATCH_LEVEL, "--alarm-level", FALSE_ALARM),
        )
        try:
            verifier.wait_for("opened")
            load = closing.enter_context(Load(sidecar.url))
            seen = Seen()
            with watching(verifier, seen):
                load.run(HONEST_REQUESTS)
                honest = wait_until_audited(verifier, HONEST_REQUESTS)
                time.sleep(3)  # for the state to follow
            assert list(dict.fromkeys(seen.states)) == ["inconclusive", "clear"], seen.why(verifier)
            assert seen.states[-1] == "clear", seen.why(verifier)
            before = honest["audit"]
            assert before["audited_records"] == HONEST_REQUESTS

            upstream.on = True
            sent = 0
            while (status := verifier.get("status"))["state"] != "alarm":
                assert sent < MAX_REQUESTS, seen.why(verifier)
                load.run(25)
                sent += 25
            [alarm] = [one for one in status["reasons"] if one["level"] == "alarm"]
            audit = status["audit"]
            records = audit["audited_records"] - before["audited_records"]
            tokens = audit["audited_tokens"] - before["audited_tokens"]
            expected = predicted_records(bundled_policy)
            print(
                f"clear over {before['audited_records']} honest answers, {before['audited_tokens']} tokens; then"
                f" {upstream.tampered} of {sent} answers were tampered with: alarm after {records} audited answers,"
                f" {tokens} tokens, {audit['flagged']} flagged; predicted: {expected:.0f} answers,"
                f" {expected * tokens / records:.0f} tokens; {alarm['what']}"
            )
            assert alarm["kind"] == "monitor"
            honest_flags = binom.isf(1e-6, audit["audited_records"], bundled_policy.honest_rates.flagged)
            assert audit["flagged"] <= upstream.tampered + honest_flags, seen.why(verifier)
            assert sidecar.stop(signal.SIGTERM) == 0
            assert verifier.stop(signal.SIGTERM) == 0
        finally:
            verifier.process.kill()
