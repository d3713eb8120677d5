"""A program for vLLM's environment: its own sampler of the V2 runner, with the plugin as vLLM loads it.

It runs in Triton's interpreter (TRITON_INTERPRET=1) and prints JSON. vLLM's wheel for CPUs turns Triton off, so the
module that does is replaced. What makes logits is replaced too; the sampler is vLLM's.
"""

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

ROWS, V, DRAFTS = 12, 1300, 3


def main() -> None:
    importing = ModuleType("vllm.triton_utils.importing")
    importing.__dict__.update(HAS_TRITON=True, TritonPlaceholder=ModuleType, TritonLanguagePlaceholder=ModuleType)
    sys.modules[importing.__name__] = importing
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    from vllm.v1.sample import rejection_sampler as v1
    from vllm.v1.worker.gpu.sample.gumbel import gumbel_sample
    from vllm.v1.worker.gpu.sample.states import NO_LOGPROBS
    from vllm.v1.worker.gpu.spec_decode import rejection_sampler as v2

    def config(method: str) -> Any:
        return SimpleNamespace(
            num_speculative_tokens=DRAFTS, enable_adaptive_verification=False, rejection_sample_method=method
        )

    def refusal(make: Any, *arguments: Any) -> str:
        try:
            make(*arguments)
        except RuntimeError as error:
            return f"{type(error).__name__}: {error}"
        return "none"

    rng = np.random.default_rng(5)
    logits = torch.from_numpy(rng.normal(0, 3, (ROWS, V)).astype(np.float32))
    states = SimpleNamespace(
        temperature=SimpleNamespace(gpu=torch.tensor([1.0, 0.0, 0.7])),
        seeds=SimpleNamespace(gpu=torch.tensor([5, 6, -7])),
    )
    sampler = SimpleNamespace(
        apply_sampling_params=lambda rows, *_: rows,
        sampling_states=states,
        use_fp64_gumbel=False,
        logprobs_mode="raw_logprobs",
        return_sampling_mask=False,
    )
    requests = np.arange(3, dtype=np.int32)
    first = np.arange(0, ROWS + 1, DRAFTS + 1, dtype=np.int32)
    batch = SimpleNamespace(
        cu_num_logits_np=first,
        cu_num_logits=torch.from_numpy(first),
        num_reqs=3,
        idx_mapping_np=requests,
        idx_mapping=torch.from_numpy(requests),
        expanded_idx_mapping=torch.from_numpy(np.repeat(requests, DRAFTS + 1)),
        expanded_local_pos=torch.arange(DRAFTS + 1, dtype=torch.int32).repeat(3),
        seq_lens_cpu_upper_bound=torch.zeros(3, dtype=torch.int32),
    )
    position = torch.arange(100, 100 + ROWS)
    drawn = gumbel_sample(
        logits,
        batch.expanded_idx_mapping,
        states.temperature.gpu,
        states.seeds.gpu,
        position,
        apply_temperature=False,
        is_drafting=False,
    )
    inputs = torch.zeros(ROWS, dtype=torch.int32)
    inputs[1:] = drawn[:-1]  # every draft is the draw of its position
    inputs[[3, 5]] = torch.tensor([-1, (int(drawn[4]) + 1) % V], dtype=torch.int32)  # but the last and the first
    made = v2.RejectionSampler(sampler, config("standard"), torch.device("cpu"))
    report: dict[str, Any] = {"rule": v2.rejection_sample.__module__, "drawn": drawn.tolist()}
    for name, chunk in (("whole", ROWS), ("chunks", DRAFTS + 1)):
        sampled, number, *_ = made._verify_in_chunks(logits, batch, None, inputs, position, chunk, NO_LOGPROBS)
        report[name] = [row[:n] for row, n in zip(sampled.tolist(), number.tolist(), strict=True)]
    report["block"] = refusal(v2.RejectionSampler, sampler, config("block"), torch.device("cpu"))
    report["v1"] = refusal(v1.RejectionSampler, sampler, config("standard"), torch.device("cpu"))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
