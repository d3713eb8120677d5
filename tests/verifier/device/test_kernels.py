"""The kernels against torch; they run on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1), else not at all."""

import os

import numpy as np
import pytest
import torch

from tests.verifier.device.test_reduction import SETTINGS, WINDOWS, V, both, check_equal, claims, draws_of, logits_of
from verifier.device.head import Pass, head_of
from verifier.device.kernels import has_kernels, select

pytestmark = pytest.mark.skipif(
    not has_kernels() or not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET")),
    reason="Triton needs a GPU, or its interpreter",
)
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
def test_reduction_by_kernels_finds_the_candidates_of_the_host(scheme: str, name: str) -> None:
    rng = np.random.default_rng(3)
    logits = logits_of(rng, 4)
    setting = (1.0, V, 1.0, 0.0) if scheme == "greedy" else SETTINGS[name]
    draws = claims(rng, logits, draws_of(scheme, [setting], rng.integers(0, V, 4)))
    check_equal(*both(logits, draws, WINDOWS["a policy's"], "kernel", DEVICE), atol=1e-5)
