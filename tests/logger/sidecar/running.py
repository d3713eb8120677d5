"""A sidecar that runs: on a thread of this process, behind real sockets, over a real log."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.free_port import free_port
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.record import Engine, Record
from weightwarden.logger.serving.address import Address
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.daemon import serve
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.logger.sidecar.log.seeds import seed_of, write_seed_key
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.sidecar.upstream.replica_url import replica_urls
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.keys import SigningKey

ORIGIN = "example.org/sidecar"
MODEL = "small"
SEED_KEY = bytes(range(32))


@dataclass
class Sidecar:
    """A running sidecar: `said` is what it wrote to its own log."""

    url: str
    log: str
    client: httpx2.Client
    said: io.StringIO
    stop: Callable[[], object]

    def complete(self, prompt: Any = "Once upon a time", **more: Any) -> httpx2.Response:
        return self.client.post("/v1/completions", json={"model": MODEL, "prompt": prompt, **more})

    def chat(self, text: str = "Tell me a story.", **more: Any) -> httpx2.Response:
        messages = [{"role": "user", "content": text}]
        return self.client.post("/v1/chat/completions", json={"model": MODEL, "messages": messages, **more})

    def await_ready(self, status: int = 200) -> str:
        """The body of /ready, once its status is that."""
        for _ in range(500):
            got = self.client.get("/ready")
            if got.status_code == status:
                return got.text
            time.sleep(0.01)
        raise AssertionError(f"/ready is not {status}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of a name in the sidecar's own log."""
        return [one for one in map(json.loads, self.said.getvalue().splitlines()) if one["event"] == name]

    def await_event(self, name: str, count: int = 1) -> dict[str, Any]:
        """The newest event of a name, once there are so many."""
        for _ in range(1000):
            if len(self.events(name)) >= count:
                return self.events(name)[-1]
            time.sleep(0.01)
        raise AssertionError(f"{name} was said {len(self.events(name))} times")

    def seed_of(self, counter: int, choices: int = 1) -> int:
        """The seed of a counter that was issued in the newest start."""
        return seed_of(SEED_KEY, ORIGIN, max(LogReader(self.log).starts().items())[1], counter, choices)

    def records(self) -> list[Record]:
        """All records of the log."""
        reader = LogReader(self.log)
        return [decode_record(entry) for entry in reader.entries(0, reader.size())]

    def await_closed_seeds(self) -> None:
        """Wait until no request is open in the log: nothing more is written before the next request."""
        for _ in range(1000):
            if not LogReader(self.log).open_seeds():
                return
            time.sleep(0.01)
        raise AssertionError("open seeds remain")

    def await_records(self, count: int) -> list[Record]:
        """The log's records, once there are so many."""
        for _ in range(1000):
            if LogReader(self.log).size() >= count:
                break
            time.sleep(0.01)
        records = self.records()
        assert len(records) == count
        return records


def settings_in(folder: Path, model_folder: Path, *upstreams: str, **more: Any) -> Settings:
    """Settings of a sidecar before these servers, whose files lie in a folder, where they are made when new."""
    if not (folder / "log.key").exists():
        SigningKey.generate(ORIGIN).write(folder / "log.key")
        write_seed_key(folder / "seed.key", lambda _: SEED_KEY)
    limits = Limits(**more.pop("limits", {}))
    settings = Settings(
        upstreams=replica_urls(upstreams),
        upstream_model="upstream-model",
        model_dir=model_folder,
        model_name=MODEL,
        engine=Engine(name="vllm", version="0.32.0", sampler="vllm-cpu"),
        log=str(folder / "log.db"),
        signing_keys=(folder / "log.key",),
        seed_key=folder / "seed.key",
        listen=Address(host="127.0.0.1", port=free_port()),
        neutral_defaults=True,
        limits=limits,
    )
    return replace(settings, **more)


@contextmanager
def running(settings: Settings, clock: Callable[[], float] = time.time) -> Iterator[Sidecar]:
    """A sidecar of a clock, until the block ends; then it must have stopped by itself, and said nothing of a defect."""
    said = io.StringIO()
    stops: list[Callable[[], object]] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    def run() -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()

            def stopped_by(stop: Callable[[], None]) -> None:
                stops.append(partial(loop.call_soon_threadsafe, stop))
                ready.set()

            await serve(sidecar, Events(said), stopped_by)

        try:
            with opened(settings, clock) as sidecar:
                asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(60)
    if failures:
        raise failures[0]
    url = f"http://127.0.0.1:{settings.listen.port}"
    for _ in range(500):
        if "listening" in said.getvalue() or not thread.is_alive():
            break
        time.sleep(0.01)
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        try:
            yield Sidecar(url, settings.log, client, said, stops[0])
        finally:
            client.close()
            if thread.is_alive():
                with suppress(RuntimeError):  # its event loop is closed: it has ended by itself
                    stops[0]()
            thread.join(settings.limits.drain_timeout + 30)
    assert not thread.is_alive()
    if failures:
        raise failures[0]
    assert '"defect"' not in said.getvalue(), said.getvalue()


def events_of(text: str) -> list[Any]:
    """The JSON of a stream's events; [DONE] as it is."""
    data = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]
