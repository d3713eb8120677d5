"""The Triton kernels against torch, on a GPU or in Triton's interpreter on a CPU (`make test-triton`), else skipped.

The interpreter (TRITON_INTERPRET=1 before the kernels are imported) runs the kernels' own Python on NumPy arrays, one
program after the other. It finds wrong arithmetic, masks, bounds and hashes. It does not find races between programs,
for its atomic operations never meet; what a compiler makes of the code, num_warps and loop hints included; or another
rounding of exp and log, for these are NumPy's.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.verifier.candidates.device.test_reduction import (
    SETTINGS,
    WINDOWS,
    V,
    both,
    check_equal,
    claims,
    draws_of,
    logits_of,
)
from tests.verifier.logits.test_masks import check_device_under_masks
from weightwarden.verifier.candidates.device import kernels, reduction, tail
from weightwarden.verifier.candidates.device.kernels import has_kernels, select
from weightwarden.verifier.candidates.device.top_logits import Pass, head_of

RUNNABLE = has_kernels() and (torch.cuda.is_available() or bool(os.environ.get("TRITON_INTERPRET")))
if os.environ.get("WEIGHTWARDEN_REQUIRE_TRITON") and not RUNNABLE:
    raise RuntimeError("WEIGHTWARDEN_REQUIRE_TRITON is set, and neither a GPU nor Triton's interpreter is here")
pytestmark = pytest.mark.skipif(not RUNNABLE, reason="Triton needs a GPU, or its interpreter: make test-triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_selects_what_torch_selects(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(4)
    logits = torch.from_numpy(logits_of(rng, 6)).to(DEVICE, dtype)
    wanted = Pass(
        size=74,
        claimed_n=torch.from_numpy(rng.integers(0, V, 6)).to(DEVICE),
        temperature_n=torch.full((6,), 0.7, dtype=torch.float64, device=DEVICE),
        min_p_offset_n=torch.tensor([-torch.inf, -3.0, -1.0, -torch.inf, -5.0, -0.1], device=DEVICE).double(),
        mass=True,
    )
    ours, theirs = select(logits, wanted), head_of(logits, wanted, "topk")
    assert not ours.cut_short_n.any()
    assert torch.equal(ours.values_nk, theirs.values_nk)
    assert torch.equal(logits.gather(1, ours.ids_nk).double(), ours.values_nk)
    assert torch.equal(ours.rank_n, theirs.rank_n)
    torch.testing.assert_close(ours.log_mass_n, theirs.log_mass_n, rtol=0, atol=1e-5)


def test_rows_with_more_ties_than_places_are_said_to_be_cut_short() -> None:
    logits = torch.zeros((2, V), device=DEVICE)
    logits[1, :100] = torch.arange(100, device=DEVICE) + 1.0
    wanted = Pass(
        size=64,
        claimed_n=torch.zeros(2, dtype=torch.int64, device=DEVICE),
        temperature_n=torch.ones(2, dtype=torch.float64, device=DEVICE),
        min_p_offset_n=torch.full((2,), -torch.inf, dtype=torch.float64, device=DEVICE),
        mass=False,
    )
    assert select(logits, wanted).cut_short_n.tolist() == [True, False]


@pytest.mark.parametrize(
    "scheme", ["vllm-cpu", "vllm-v2", "vllm-v2-fp64", "vllm-v1", "vllm-v1-fp64", "sglang", "greedy"]
)
@pytest.mark.parametrize("name", ["unfiltered", "top-k and top-p", "a wide nucleus", "min-p beyond the head"])
def test_reduction_by_kernels_finds_the_candidates_of_the_host(
    scheme: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[str] = []

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            launched.append(name)
            return real(*arguments)

        return noted

    monkeypatch.setattr(reduction, "select", noting("select", kernels.select))
    monkeypatch.setattr(tail, "scan", noting("scan", kernels.scan))
    rng = np.random.default_rng(3)
    logits = logits_of(rng, 4)
    setting = (1.0, V, 1.0, 0.0) if scheme == "greedy" else SETTINGS[name]
    draws = claims(rng, logits, draws_of(scheme, [setting], rng.integers(0, V, 4)))
    check_equal(*both(logits, draws, WINDOWS["a policy's"], "kernel", DEVICE), atol=1e-5)
    assert "select" in launched
    scans = scheme in ("vllm-cpu", "vllm-v2") and name in ("unfiltered", "min-p beyond the head")
    assert ("scan" in launched) == scans


@pytest.mark.parametrize("scheme", ["vllm-cpu", "vllm-v2", "greedy"])
@pytest.mark.parametrize("name", ["unfiltered", "top-k and top-p", "min-p beyond the head"])
def test_reduction_by_kernels_finds_the_candidates_of_the_host_under_masks(scheme: str, name: str) -> None:
    settings = [(1.0, V, 1.0, 0.0) if scheme == "greedy" else SETTINGS[name]]
    check_device_under_masks(scheme, settings, "kernel", n=8, place=DEVICE)
