"""A real vLLM server on this machine's CPU, for benchmarks and tests: started, waited for, stopped."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.free_port import free_port
from verifier.vllm.client import VllmClient
from verifier.vllm.own_server import OwnServer

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
        ReplayServerError: it does not come up; with the last line that it wrote.
    """
    port = free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *ARGUMENTS, *arguments]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = OwnServer(command, {**ENVIRONMENT, **(environment or {})}, log)
    try:
        with VllmClient(f"http://127.0.0.1:{port}") as client:
            server.wait_for(client)
            yield client
    finally:
        server.stop()
