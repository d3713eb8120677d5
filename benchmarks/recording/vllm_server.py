"""A real vLLM server on this machine's CPU for benchmarks and tests: started, awaited, stopped."""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.free_port import free_port
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.managed_server import OwnServer
from weightwarden.verifier.replay.vllm.processor import ServerSettings, settings_for, this_processor

ARGUMENTS = (
    *("--max-model-len", "2048", "--max-num-seqs", "16"),
    *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192", "--logprobs-mode", "raw_logits"),
)
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def settings_here(dtype: str | None = None) -> ServerSettings:
    """Dtype and environment of exact replay on this machine, or those for a given dtype.

    Variables that cap the instruction set are passed on to the server, which then emulates a narrower processor.
    """
    return settings_for(this_processor(os.environ).instructions, dtype)


@contextmanager
def vllm_server(
    python: Path,
    model: Path,
    log: Path,
    arguments: Sequence[str] = ("--max-logprobs", "1024"),
    environment: Mapping[str, str] | None = None,
    settings: ServerSettings | None = None,
) -> Iterator[VllmClient]:
    """A client of a separate server, which is stopped at the end.

    Args:
        python: the interpreter of an environment that has vLLM.
        log: the file for the server's output.
        arguments: arguments besides `ARGUMENTS`.
        environment: variables besides `ENVIRONMENT` and those of the settings.
        settings: dtype and environment; by default those of `settings_here`.

    Raises:
        ReplayServerError: the server does not start; the message holds its last lines.
    """
    settings = settings or settings_here()
    port = free_port()
    url, name = f"http://127.0.0.1:{port}", f"benchmark-{secrets.token_hex(8)}"
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *ARGUMENTS, *arguments]
    command += ["--dtype", settings.dtype, "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)]
    server = OwnServer(command, {**ENVIRONMENT, **settings.environment, **(environment or {})}, log)
    try:
        server.wait_for(url, name=name)
        with VllmClient(url, model=name) as client:
            yield client
    finally:
        server.stop()
