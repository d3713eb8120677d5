import pytest
import torch
from torch import nn

from weightwarden.verifier.replay.transformers import float32_linear
from weightwarden.verifier.replay.transformers.float32_linear import Float32Products, with_float32_products


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_are_exact_sums_that_are_rounded_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, *, bias: bool
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(float32_linear, "_SLICE_ELEMENTS", 64 * 130)
    layer = nn.Linear(64, 300, bias=bias).to(dtype)
    inputs = torch.randn(5, 7, 64).to(dtype)
    with torch.no_grad():
        found = Float32Products.of(layer)(inputs)
        exact = inputs.double() @ layer.weight.double().T
        exact += layer.bias.double() if bias else 0.0
    assert found.dtype == dtype
    assert found.shape == (5, 7, 300)
    rounded = exact.to(dtype)
    differs = found != rounded
    assert differs.float().mean() < 0.002  # float32's own rounding, beside a midpoint
    spacing = torch.finfo(dtype).eps * exact.abs() + torch.finfo(dtype).tiny
    assert bool(((found.double() - exact).abs() <= 0.51 * spacing + 1e-5).all())


class Tied(nn.Module):
    """An embedding whose weights are the head's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits."""
        found: torch.Tensor = self.head(self.embedding(ids))
        return found


def test_few_rows_are_computed_by_torchs_own_product() -> None:
    torch.manual_seed(1)
    layer = nn.Linear(64, 300).bfloat16()
    inputs = torch.randn(float32_linear.MIN_ROWS - 1, 64).bfloat16()
    assert torch.equal(Float32Products.of(layer)(inputs), layer(inputs))


@pytest.mark.parametrize(("capability", "replaced"), [("AVX2", True), ("DEFAULT", False), ("AVX512", False)])
def test_layers_are_replaced_where_the_processor_has_no_half_precision(
    monkeypatch: pytest.MonkeyPatch, capability: str, *, replaced: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    model = Tied().bfloat16()
    with_float32_products(model)
    assert isinstance(model.head, Float32Products) == replaced
    assert model.head.weight is model.embedding.weight
    assert len(list(model.parameters())) == 1
    full = Tied()
    with_float32_products(full)
    assert type(full.head) is nn.Linear
