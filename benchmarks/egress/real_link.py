"""A capture of real traffic between an inference server and a sidecar, and the archives of its log.

The two are in network namespaces of their own, joined by a virtual cable. Answers are streamed or not, end by length,
at stop strings and at the end of sequence, have one or two choices, and some clients leave.

    unshare -n python -m benchmarks.egress.real_link FOLDER [--vllm-python PYTHON] [--requests 60] [--loss 50]
"""

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2

from benchmarks.egress.cable import Tap, cable
from benchmarks.egress.wire import PORT, SERVER, write_pcapng
from benchmarks.recording.vllm_server import ARGUMENTS, ENVIRONMENT, settings_here
from benchmarks.sidecar.servers import await_port, sidecar_command, started
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.replay.vllm.managed_server import OwnServer

LISTEN = 8100
TRAFFIC = "traffic.json"
"""Name of the file that says what the traffic is."""
MODEL = "source"
AT_ONCE = 8
_WAYS: tuple[dict[str, Any], ...] = (
    {"stream": True},
    {"stream": False},
    {"stream": True, "n": 2},
    {"stream": False, "stop": [" the", "token token"]},
    {"stream": True, "leaves": True},
)
"""Fields of the requests, in turn. A client that leaves reads only the first events."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--vllm-python", type=click.Path(path_type=Path, exists=True), help="Interpreter that has vLLM.")
@click.option("--requests", "count", default=60, show_default=True, help="Number of requests.")
@click.option("--tokens", default=40, show_default=True, help="Length limit of an answer.")
@click.option("--loss", default=0, show_default=True, help="Lose one of so many packets; 0: none.")
def main(folder: Path, vllm_python: Path | None, count: int, tokens: int, loss: int) -> None:
    with cable(loss) as inside, served(inside, vllm_python, folder) as model, Tap() as tap:
        options = ("--upstream-model", model, "--max-model-len", "1024", "--archives", str(folder / "archives"))
        command = sidecar_command(folder, f"http://{SERVER}:{PORT}", LISTEN, *options)
        sidecar = started(command, folder / "sidecar.log")
        await_port(LISTEN, sidecar, folder / "sidecar.log")
        with (
            httpx2.Client(base_url=f"http://127.0.0.1:{LISTEN}", timeout=600, trust_env=False) as client,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            list(pool.map(lambda number: ask(client, number, tokens), range(count)))
        sidecar.send_signal(signal.SIGTERM)
        sidecar.wait(120)
    key = SigningKey.read(folder / "log.key")
    (folder / "log.key.pub").write_text(f"{key.verifier}\n", encoding="ascii")
    write_pcapng(folder / "link.pcapng", tap.frames, drops=tap.drops)
    traffic = {"server": "vLLM" if vllm_python else "token source", "requests": count, "tokens": tokens, "loss": loss}
    (folder / TRAFFIC).write_text(json.dumps(traffic))
    print(f"{len(tap.frames)} frames captured, {tap.drops} dropped by the tap")


def ask(client: httpx2.Client, number: int, tokens: int) -> None:
    """One request, in one of the ways.

    Raises:
        HTTPStatusError: the sidecar refused it.
    """
    fields = dict(_WAYS[number % len(_WAYS)])
    leaves = fields.pop("leaves", False)
    body = {"model": MODEL, "prompt": [1 + number, 0], "max_tokens": tokens, "temperature": 1.0, "top_k": 50, **fields}
    with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        for at, _ in enumerate(response.iter_bytes()):
            if leaves and at == 2:
                return


@contextmanager
def served(inside: Sequence[str], vllm_python: Path | None, folder: Path) -> Iterator[str]:
    """A running inference server at the cable's other end: vLLM, or one that only sends tokens; its model's name.

    Args:
        inside: the words that run a program there.
        vllm_python: interpreter that has vLLM, or None.
        folder: where the server's output goes.
    """
    if vllm_python is None:
        process = subprocess.Popen([*inside, sys.executable, "-m", "benchmarks.egress.source", SERVER, str(PORT)])  # noqa: S603  (ours)
        try:
            yield MODEL
        finally:
            process.terminate()
            process.wait(60)
        return
    settings, name = settings_here(), f"benchmark-{secrets.token_hex(8)}"
    command = [str(vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(ensure_embedded_model())]
    command += [*ARGUMENTS, "--dtype", settings.dtype, "--served-model-name", name, "--host", SERVER]
    environment = {**ENVIRONMENT, **settings.environment}
    server = OwnServer([*inside, *command, "--port", str(PORT)], environment, folder / "vllm.log")
    try:
        server.wait_for(f"http://{SERVER}:{PORT}", name=name)
        yield name
    finally:
        server.stop()


if __name__ == "__main__":
    main()
