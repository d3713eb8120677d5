"""The rule of drafts against vLLM's own kernels, in Triton's interpreter on a CPU (`make test-triton`), else skipped.

The kernels are two files of vLLM's wheel, loaded alone: the rest of vLLM is not imported.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.verifier.candidates.engine_samplers import one_hot_token
from tests.verifier.candidates.test_one_hot import draws_of, scored
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.uniforms import draft_uniforms
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE

WHEEL = os.environ.get("WEIGHTWARDEN_VLLM_SOURCES")
"""The folder `vllm` of an installed wheel."""
pytestmark = pytest.mark.skipif(
    not (WHEEL and os.environ.get("TRITON_INTERPRET")),
    reason="vLLM's kernels run in Triton's interpreter: make test-triton",
)
V, DRAFTS = 1_100, 3
FILES = {
    "vllm.v1.worker.gpu.sample.gumbel": "v1/worker/gpu/sample/gumbel.py",
    "vllm.v1.worker.gpu.spec_decode.rejection_sampler_utils": "v1/worker/gpu/spec_decode/rejection_sampler_utils.py",
}


@pytest.fixture(scope="module")
def kernels() -> Any:
    """The modules of the wheel's kernels, with Triton under the names by which vLLM imports it."""
    import triton
    import triton.language as tl
    from triton.language.extra import libdevice

    assert WHEEL is not None
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "vllm"}
    names = {name.rsplit(".", k)[0] for name in FILES for k in range(1, name.count(".") + 1)} | {"vllm.triton_utils"}
    names.add("vllm.v1.worker.gpu.sample.watermark")  # unused without a watermark
    for name in sorted(names):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = []
    utils: Any = sys.modules["vllm.triton_utils"]
    utils.tl, utils.triton, utils.tldevice, utils.HAS_TRITON = tl, triton, libdevice, True
    watermark: Any = sys.modules["vllm.v1.worker.gpu.sample.watermark"]
    watermark.philox_gumbel_block_argmax = None
    loaded = {}
    for name, file in FILES.items():
        spec = importlib.util.spec_from_file_location(name, Path(WHEEL) / file)
        assert spec is not None
        assert spec.loader is not None
        loaded[name] = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded[name])
    gumbel, rejection = loaded.values()
    yield SimpleNamespace(gumbel_sample=gumbel.gumbel_sample, rejection_sample=rejection.rejection_sample)
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        del sys.modules[name]
    sys.modules.update(before)


def emitted(
    kernels: Any, x: torch.Tensor, drafts: torch.Tensor, seed: int, first: int, temperature: float
) -> list[int]:
    """The tokens that vLLM emits for one request with these drafts, from processed logits [DRAFTS + 1, V]."""
    rows = len(x)
    zeros = torch.zeros(rows, dtype=torch.int32)
    sampled, count = kernels.rejection_sample(
        x,
        None,
        torch.cat([torch.zeros(1, dtype=torch.int64), drafts]),
        torch.tensor([0, rows], dtype=torch.int32),
        torch.arange(first, first + rows, dtype=torch.int64),
        torch.zeros(1, dtype=torch.int32),
        zeros,
        torch.arange(rows, dtype=torch.int32),
        torch.tensor([temperature]),
        torch.tensor([seed], dtype=torch.int64),
        rows - 1,
    )
    return [int(token) for token in sampled[0, : int(count[0])]]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_every_token_that_the_kernels_emit_is_admissible_and_as_the_rule_says(kernels: Any, temperature: float) -> None:
    rng = np.random.default_rng(17)
    tokens = accepted = 0
    for request in range(18):
        seed, first = int(rng.integers(-(2**63), 2**63)), int(rng.integers(0, 2**20))
        logits = rng.normal(0, 5.0, (DRAFTS + 1, V)).astype(np.float32)
        x = logits / np.float32(temperature)
        kinds = (x.argmax(axis=1), np.argsort(-x)[:, 2], rng.integers(-1, V, DRAFTS + 1))
        drafts = kinds[request % 3][:DRAFTS].astype(np.int64)
        said = emitted(kernels, torch.from_numpy(x.copy()), torch.from_numpy(drafts), seed, first, temperature)
        for t, token in enumerate(said):
            draft = int(drafts[t]) if t < DRAFTS and drafts[t] >= 0 else None
            assert token == one_hot_token(x[t], seed, first + t, draft)
        accepted += len(said) - 1
        tokens += len(said)
        found = scored(logits[: len(said)], draws_of(np.array(said), {"temperature": temperature}, seed, first + 1, V))
        assert (found.margin_n <= EXACT_TOLERANCE.margin).all()
    assert accepted > 5
    assert tokens >= accepted + 18


def test_without_drafts_the_kernels_draw_plain_seeded_tokens(kernels: Any) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2.5, (12, V)).astype(np.float32)
    noise = gumbel_noise("vllm-v2-one-hot", V)
    g = noise.at(noise.keys(99, 8, 12), np.tile(np.arange(V), (12, 1)))
    said = [
        emitted(kernels, torch.from_numpy(logits[t : t + 1].copy()), torch.empty(0, dtype=torch.int64), 99, 7 + t, 1.0)[
            0
        ]
        for t in range(12)
    ]
    assert said == (logits + g).argmax(axis=1).tolist()


def test_uniform_numbers_are_those_of_triton(kernels: Any) -> None:
    """A draft of known probability is accepted if and only if it exceeds the uniform number, to float32."""
    for t, a in enumerate(draft_uniforms(-5, 40, 6)):
        for factor, expected in ((1.001, True), (0.999, False)):
            p = a * factor
            x = torch.full((2, V), -torch.inf)
            x[0, 7], x[0, 9] = float(np.log(p)), float(np.log1p(-p))
            x[1, 3] = 0.0
            said = emitted(kernels, x, torch.tensor([7]), -5, 39 + t, 1.0)
            assert said == ([7, 3] if expected else [9])
