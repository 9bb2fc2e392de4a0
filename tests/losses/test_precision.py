"""Half precision in, single precision inside, under autocast too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import SIX, at_temperature, gradients, unit_views

every_loss = pytest.mark.parametrize("name", SIX)
halves = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
TEMPERATURE = 0.01


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


@every_loss
@halves
@pytest.mark.parametrize("noise", [1.0, 3.0], ids=["positives", "hard positives"])
def test_half_precision_inputs(name: str, dtype: torch.dtype, noise: float) -> None:
    loss = at_temperature(name, TEMPERATURE)
    views = [v.to(dtype) for v in unit_views(n=32, d=16, noise=noise)]
    value, exact = loss(*views), loss(*(v.double() for v in views))
    assert value.dtype == torch.float32
    assert exact.abs() > 1e-3
    assert _relative(value, exact) < 0.01
    ours, theirs = gradients(loss, views), gradients(loss, [v.double() for v in views])
    for g, g64 in zip(ours, theirs, strict=True):
        assert g.dtype == dtype
        assert _relative(g, g64) < 0.02


@every_loss
@halves
def test_autocast_does_not_reach_inside(name: str, dtype: torch.dtype) -> None:
    """A layer under autocast gives half-precision views; its weight's gradient is within 2 % of the exact one."""
    loss, inputs = at_temperature(name, TEMPERATURE), [v.float() for v in unit_views(n=32, d=16, noise=1.0)]
    layer = torch.nn.Linear(16, 16, bias=False)
    with torch.autocast("cpu", dtype=dtype):
        views = [layer(x) for x in inputs]
        value = loss(*views)
        weights = loss.pair_weights(*views)
        plans = loss.coupling(*views)
    assert views[0].dtype == dtype
    assert value.dtype == weights.dtype == torch.float32
    assert all(plan.plan().dtype == torch.float32 for plan in plans.values())
    assert _relative(value, loss(*(v.detach().double() for v in views))) < 0.01
    assert _relative(weights, loss.pair_weights(*(v.detach().double() for v in views))) < 0.02
    (ours,) = torch.autograd.grad(value, layer.weight)
    at_views = gradients(loss, [v.detach().double() for v in views])
    exact = sum(g.T @ x.double() for g, x in zip(at_views, inputs, strict=True))
    assert _relative(ours, torch.as_tensor(exact)) < 0.02


@every_loss
def test_double_precision_stays_double(name: str) -> None:
    views = unit_views()
    assert SIX[name]()(*views).dtype == torch.float64
    assert SIX[name]()(*(v.float() for v in views)).dtype == torch.float32


@every_loss
def test_values_of_single_and_double_precision_agree(name: str) -> None:
    views = unit_views(n=32, d=16)
    torch.testing.assert_close(
        SIX[name]()(*(v.float() for v in views)).double(), SIX[name]()(*views), rtol=1e-4, atol=1e-5
    )
