"""Hard batches at low temperature: finite, right in single precision, and no half precision inside."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from couplings import AlphaCL, InfoNCE, Loss, Power
from couplings.basics.precision import softplus
from couplings.pieces import rules
from helpers import CASES, gradients, unit_views

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(collapsed|duplicates):couplings.CouplingWarning"),
    # A balanced plan at temperature 0.01 is not solved to 1e-5 within 1,000 sweeps, and says so.
    pytest.mark.filterwarnings("ignore:couple stopped after 1000 sweeps:couplings.CouplingWarning"),
]
every_loss = pytest.mark.parametrize("name", CASES)
halves = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
temperatures = pytest.mark.parametrize("temperature", [0.01, 0.5])
N, D = 16, 8


def _antipodal() -> list[Tensor]:
    """Samples of the second half opposite to those of the first."""
    half = unit_views(n=N // 2, d=D)
    return [torch.cat([v, -v]) for v in half]


def _simplex() -> list[Tensor]:
    """All samples as far apart as they can be, cosine -1/7: exp(-d^2 / 0.01) underflows in single precision."""
    return [torch.eye(D, dtype=torch.float64) - 1 / D] * 2


def _twins() -> list[Tensor]:
    return [torch.cat([v, v]) for v in unit_views(n=N // 2, d=D, noise=1.0)]


def _hard_positives(spread: float) -> list[Tensor]:
    """View 2 opposite to view 1, each view in one point: cosine -1 to the positive, +1 to the negatives of its view."""
    around = unit_views(n=N, d=D)[0][:1].repeat(N, 1) + spread * unit_views(n=N, d=D, seed=1)[0]
    return [around, -around]


BATCHES: dict[str, Callable[[], list[Tensor]]] = {
    "close views": lambda: unit_views(n=N, d=D, noise=0.2),
    "random": lambda: unit_views(n=N, d=D, noise=1.0),
    "unrelated views": lambda: unit_views(n=N, d=D, noise=3.0),
    "antipodal rows": _antipodal,
    "simplex": _simplex,
    "all rows equal": lambda: [torch.ones(N, D, dtype=torch.float64)] * 2,
    "perfect alignment": lambda: unit_views(n=N, d=D)[:1] * 2,
    "twins": _twins,
    "hard positives": lambda: _hard_positives(0.0),
    "nearly hard positives": lambda: _hard_positives(0.05),
}
every_batch = pytest.mark.parametrize("batch", BATCHES)


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def _value_and_gradient(name: str, temperature: float, views: list[Tensor]) -> tuple[Tensor, Tensor]:
    loss = CASES[name].at_temperature(temperature)
    leaves = [v.detach().clone().requires_grad_() for v in views]
    value = loss(*leaves)
    return value.detach(), torch.cat(torch.autograd.grad(value, leaves))


def _is_continuous(name: str, temperature: float, views: list[Tensor]) -> bool:
    """A cut between singular values that are equal up to 1 % is no function of the input: only finiteness is asked."""
    if name != "AlphaCLLowRank":
        return True
    loss = CASES[name].at_temperature(temperature)
    values = torch.linalg.svdvals(loss.coupling(*(v.double() for v in views))["negatives"].plan())
    return bool(values[loss.rank] < 0.99 * values[loss.rank - 1])


@every_loss
@every_batch
@temperatures
def test_single_precision(name: str, batch: str, temperature: float) -> None:
    views = [v.float() for v in BATCHES[batch]()]
    value, ours = _value_and_gradient(name, temperature, views)
    exact, theirs = _value_and_gradient(name, temperature, [v.double() for v in views])
    assert value.isfinite()
    assert ours.isfinite().all()
    if not _is_continuous(name, temperature, views):
        return
    scale = 1.0 if CASES[name].at is None else temperature
    # Of a score: D products, two norms, quotient, result. A weight moves twice that, a gradient is a mean of 2 N rows.
    score = (D + 4) * 2.0**-24 / temperature
    assert (ours.double() - theirs).norm() * scale <= max(1e-5, 2 * score / math.sqrt(2 * N))
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=max(1e-5, score))


@every_loss
@every_batch
@halves
def test_half_precision(name: str, batch: str, dtype: torch.dtype) -> None:
    for temperature in (0.01, 0.5):
        _assert_half_precision(name, batch, temperature, dtype)


def _assert_half_precision(name: str, batch: str, temperature: float, dtype: torch.dtype) -> None:
    """Value within 1 %, gradient within 2 % of float64 on the same rounded input; absolutely where it is next to 0."""
    views = [v.to(dtype) for v in BATCHES[batch]()]
    value, ours = _value_and_gradient(name, temperature, views)
    exact, theirs = _value_and_gradient(name, temperature, [v.double() for v in views])
    assert value.dtype == torch.float32
    assert ours.dtype == dtype
    assert value.isfinite()
    assert ours.isfinite().all()
    if not _is_continuous(name, temperature, views):
        return
    assert (value.double() - exact).abs() <= 0.01 * exact.abs() + 1e-5
    scale = 1.0 if CASES[name].at is None else temperature
    assert (ours.double() - theirs).norm() <= 0.02 * theirs.norm() + 1e-5 / scale
    if theirs.norm() > 1e-2:
        assert _relative(ours, theirs) < 0.02


@every_loss
@halves
def test_autocast_does_not_reach_inside(name: str, dtype: torch.dtype) -> None:
    """A layer under autocast gives half-precision views; its weight's gradient is within 2 % of the exact one."""
    loss, inputs = CASES[name].at_temperature(0.01), [v.float() for v in unit_views(n=N, d=D, noise=1.0)]
    layer = torch.nn.Linear(D, D, bias=False)
    with torch.autocast("cpu", dtype=dtype):
        views = [layer(x) for x in inputs]
        value = loss(*views)
        weights = loss.pair_weights(*views)
        plans = loss.coupling(*views)
    assert views[0].dtype == dtype
    assert value.dtype == weights.dtype == torch.float32
    assert all(plan.plan().dtype == torch.float32 for plan in plans.values())
    assert torch.equal(value, loss(*views))
    assert torch.equal(weights, loss.pair_weights(*views))
    (ours,) = torch.autograd.grad(value, layer.weight)
    at_views = gradients(loss, [v.detach().double() for v in views])
    exact = sum(g.T @ x.double() for g, x in zip(at_views, inputs, strict=True))
    assert _relative(ours, torch.as_tensor(exact)) < 0.02


@every_loss
def test_single_precision_views_under_autocast(name: str) -> None:
    """What is not half precision outside stays single precision inside: the same numbers as without autocast."""
    loss, views = CASES[name].at_temperature(0.01), [v.float() for v in unit_views(n=N, d=D, noise=1.0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(*views)
    assert torch.equal(value, loss(*views))


def test_softplus_has_every_digit_of_double_precision() -> None:
    x = torch.linspace(15, 45, 301, dtype=torch.float64)
    torch.testing.assert_close(softplus(x), x + torch.log1p(torch.exp(-x)), rtol=4 * torch.finfo(x.dtype).eps, atol=0)


@pytest.mark.parametrize("loss", [InfoNCE, AlphaCL])
def test_inner_products_of_long_rows_keep_their_differences(loss: type[Loss]) -> None:
    """Scores of 1e6 that differ by one: single precision rounds them to sixteenths; the value has its own rounding."""
    z = [1000 * torch.eye(N, D)[:1] + 1e-3 * torch.randn(N, D) for _ in range(2)]
    single, double = (loss(1.0, normalize=False)(*views) for views in (z, [v.double() for v in z]))
    torch.testing.assert_close(single.double(), double, rtol=2 * torch.finfo(torch.float32).eps, atol=0)


@every_loss
def test_double_precision_stays_double(name: str) -> None:
    views = unit_views()
    assert CASES[name]()(*views).dtype == torch.float64
    assert CASES[name]()(*(v.float() for v in views)).dtype == torch.float32


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.keys])
@halves
def test_a_queue_in_half_precision(name: str, dtype: torch.dtype) -> None:
    loss, views = CASES[name].at_temperature(0.05), [v.to(dtype) for v in unit_views(n=N, d=D, noise=1.0)]
    keys = torch.randn(20, D).to(dtype)
    value, exact = loss(*views, keys=keys), loss(*(v.double() for v in views), keys=keys.double())
    assert value.dtype == torch.float32
    assert _relative(value, exact) < 0.01


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.negatives])
@halves
def test_own_negatives_in_half_precision(name: str, dtype: torch.dtype) -> None:
    loss, views = CASES[name].at_temperature(0.05), [v.to(dtype) for v in unit_views(n=N, d=D, noise=1.0)]
    negatives = torch.randn(N, 5, D).to(dtype)
    value, exact = loss(*views, negatives=negatives), loss(*(v.double() for v in views), negatives=negatives.double())
    assert value.dtype == torch.float32
    assert _relative(value, exact) < 0.01


SOLVED = {
    "SparseGCA": ("SparseGCA", {"temperature": 0.5}),
    "SparseGCA, cold": ("SparseGCA", {"temperature": 0.05}),
    "HCLOT": ("HCLOT", {"rule": "quadratic"}),
    "HCLOT, cold": ("HCLOT", {"rule": "quadratic", "temperature": 0.1, "reg": 0.1, "sweeps": 20}),
    "SparseGCA, power": ("SparseGCA", {"rule": Power(1.5)}),
    "AlphaCL": ("AlphaCL", {"rule": "quadratic"}),
    "AlphaCL, cold": ("AlphaCL", {"rule": "quadratic", "temperature": 0.02}),
}


@pytest.mark.parametrize("solved", SOLVED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_newton_steps_of_a_half_step_are_few(solved: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty give what two hundred do, but for the last digits; bisection alone would need over fifty for those."""
    name, options = SOLVED[solved]
    views = [v.to(dtype) for v in unit_views(n=64, d=16, noise=1.0)]

    def results(most: int) -> list[Tensor]:
        monkeypatch.setattr(rules, "_MAX_ITERATIONS", most)
        loss = CASES[name](**options)
        return [loss(*views), *gradients(loss, views)]

    torch.testing.assert_close(results(30), results(200), rtol=1e-11, atol=1e-11)
