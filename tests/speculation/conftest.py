"""The plugin's rule on vLLM's kernels, and on the project's own noise where these cannot run."""

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks.speculation.engine_kernels import PLUGIN, EngineKernels
from weightwarden.sampler.noise import gumbel_noise

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="session")
def kernels() -> EngineKernels:
    """vLLM's own kernels, on a GPU or in Triton's interpreter."""
    sources, required = os.environ.get("WEIGHTWARDEN_VLLM_SOURCES"), os.environ.get("WEIGHTWARDEN_REQUIRE_TRITON")
    runnable = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET")
    if sources is None or not runnable:
        if required:
            pytest.fail("WEIGHTWARDEN_REQUIRE_TRITON is set, without vLLM's files, or without GPU and interpreter")
        pytest.skip("needs vLLM's files, and a GPU or Triton's interpreter: make test-triton")
    return EngineKernels.load(Path(sources))


@pytest.fixture
def numpy_coupled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The plugin's rule on draws by the project's noise."""
    for name in ("vllm", "vllm.v1", "vllm.v1.worker", "vllm.v1.worker.gpu", "vllm.v1.worker.gpu.sample"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    gumbel = ModuleType("vllm.v1.worker.gpu.sample.gumbel")
    gumbel.__dict__["gumbel_sample"] = _numpy_gumbel_sample
    monkeypatch.setitem(sys.modules, gumbel.__name__, gumbel)
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield import_module("weightwarden_coupled_speculation.acceptance").coupled_rejection_sample
    for name in [name for name in sys.modules if name.startswith("weightwarden_coupled_speculation")]:
        del sys.modules[name]


def _numpy_gumbel_sample(
    logits: torch.Tensor,
    place_of_row: torch.Tensor,
    temperature: torch.Tensor,
    seed: torch.Tensor,
    position: torch.Tensor,
    apply_temperature: bool,
    is_drafting: bool,
    use_fp64: bool = False,
) -> torch.Tensor:
    assert not apply_temperature
    assert not is_drafting
    noise = gumbel_noise("vllm-v2-fp64" if use_fp64 else "vllm-v2", logits.shape[1])
    ids = torch.arange(logits.shape[1])[None].numpy()
    tokens = []
    for row, place, at in zip(logits.double(), place_of_row.tolist(), position.tolist(), strict=True):
        if temperature[place] != 0:
            row = row + torch.from_numpy(noise.at(noise.keys(int(seed[place]), at + 1, 1), ids)[0])
        tokens.append(int(row.argmax()))
    return torch.tensor(tokens)
