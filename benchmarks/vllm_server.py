"""A real vLLM server on this machine's CPU, for benchmarks and tests: started, waited for, stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.free_port import free_port
from verifier.errors import ReplayServerError
from verifier.vllm.client import VllmClient

START_SECONDS = 1500.0
"""A server that compiles needs some 150 seconds on two cores, more where another works beside it."""
ARGUMENTS = (
    *("--dtype", "bfloat16", "--max-model-len", "2048", "--max-num-seqs", "16"),
    *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", "--logprobs-mode", "raw_logits"),
)
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # the bfloat16 kernels of later processors depend on the batch (docs/exact-replay.md)
}


@contextmanager
def vllm_server(
    python: Path,
    model: Path,
    log: Path,
    arguments: Sequence[str] = ("--max-logprobs", "1024"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[VllmClient]:
    """A client of a server of its own, which is stopped at the end.

    Args:
        python: the interpreter of an environment that has vLLM. log: where the server's output goes.
        arguments, environment: besides `ARGUMENTS` and `ENVIRONMENT`.

    Raises:
        ReplayServerError: it does not come up; the message ends with the last lines of its log.
    """
    port = free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *ARGUMENTS, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  (the operator names the interpreter)
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
    try:
        with VllmClient(f"http://127.0.0.1:{port}") as client:
            _wait(client, process, log)
            yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(client: VllmClient, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.served_model()
            return
        except ReplayServerError as error:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(2)
                continue
            tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ReplayServerError(f"the vLLM server did not come up:\n{tail}") from error
