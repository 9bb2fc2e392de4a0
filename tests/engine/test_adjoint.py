"""The entropic adjoint against an unrolled reference, what it keeps in memory, and single precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from couplings import GCAINCE, HCL, HCLOT, KL, Entropic, Fixed, Free, Marginal, Power, Quadratic, Rule, Scores, couple
from couplings.basics.sizes import limited
from helpers import F64, gradients, unit_views


@pytest.fixture(autouse=True)
def not_left_to_autograd() -> Iterator[None]:
    """Matrices are small here, and few sweeps on a small one are plain operations otherwise."""
    with limited(tiled=0):
        yield


def _unrolled(matrix: Tensor, temperature: Tensor, damp: tuple[Tensor, Tensor], sweeps: int, row_step: bool) -> Tensor:
    """Scaling u, v of the plain kernel; autograd walks through every sweep."""
    n, m = matrix.shape
    kernel = torch.exp(matrix / temperature)
    u, v = torch.ones(n, dtype=F64), torch.ones(m, dtype=F64)
    for _ in range(sweeps):
        u = ((kernel * v).sum(1) / m) ** -damp[0]
        v = ((kernel * u[:, None]).sum(0) / n) ** -damp[1]
    if row_step:
        u = ((kernel * v).sum(1) / m) ** -damp[0]
    return u[:, None] * kernel * v / (n * m)


@pytest.mark.parametrize("relaxed", [False, True], ids=["Fixed", "KL"])
@pytest.mark.parametrize("row_step", [False, True])
@pytest.mark.parametrize("sweeps", [1, 3, 10])
def test_value_and_gradient_of_the_unrolled_scaling(sweeps: int, row_step: bool, relaxed: bool) -> None:
    inputs = (torch.randn(7, 9, dtype=F64), *torch.tensor([0.3, 0.5, 2.0], dtype=F64).unbind())
    weight = torch.randn(7, 9, dtype=F64)

    def unrolled(matrix: Tensor, temperature: Tensor, *rho: Tensor) -> Tensor:
        firm = torch.ones((), dtype=F64)
        damp = tuple(r / (r + temperature) if relaxed else firm for r in rho)
        return (weight * _unrolled(matrix, temperature, damp, sweeps, row_step).log()).sum()

    def solved(matrix: Tensor, temperature: Tensor, *rho: Tensor) -> Tensor:
        sides: list[Marginal] = [KL(r) if relaxed else Fixed() for r in rho]
        coupling = couple(Scores.given(matrix, temperature=temperature), *sides, sweeps=sweeps, row_step=row_step)
        return (weight * coupling.plan().log()).sum()

    torch.testing.assert_close(solved(*inputs), unrolled(*inputs), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(gradients(solved, inputs), gradients(unrolled, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def _saved_bytes(build: object) -> int:
    """Bytes that the graph keeps, each storage counted once."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        alive.append(x)
        return x

    alive: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        build()  # type: ignore[operator]
    return sum(kept.values())


@pytest.mark.parametrize("rule", [Entropic(), Quadratic(), Power(2.0)], ids=lambda r: type(r).__name__)
def test_memory_grows_by_two_vectors_a_sweep(rule: Rule) -> None:
    n, m = 96, 64
    matrix = torch.randn(n, m, requires_grad=True)

    def saved(sweeps: int) -> int:
        scores = Scores.given(matrix, temperature=0.5)
        return _saved_bytes(lambda: couple(scores, Fixed(), Fixed(), sweeps=sweeps, rule=rule).plan().sum())

    grown = saved(50) - saved(1)
    assert 0 < grown <= 2 * 49 * (n + m) * 4
    assert grown >= 49 * (n + m) * 4, "the potentials of every sweep are needed: something is not counted"


def test_memory_of_gca_ince_grows_by_two_vectors_a_sweep() -> None:
    views = [v.float().requires_grad_() for v in unit_views(n=64, d=8)]
    grown = _saved_bytes(lambda: GCAINCE(sweeps=50)(*views)) - _saved_bytes(lambda: GCAINCE(sweeps=1)(*views))
    assert 0 < grown <= 2 * 49 * (128 + 128) * 4


@pytest.mark.parametrize(
    ("rows", "cols"),
    [(Fixed(), Free()), (Fixed(), Fixed()), (KL(0.05), KL(0.05)), (KL(0.05), Fixed())],
    ids=["Fixed-Free", "Fixed-Fixed", "KL-KL", "KL-Fixed"],
)
def test_single_precision_at_temperature_one_hundredth(rows: Marginal, cols: Marginal) -> None:
    temperature = 0.01
    cosines = (unit_views(n=40, d=6)[0] @ unit_views(n=40, d=6)[1].T).float()

    def value(matrix: Tensor) -> Tensor:
        coupling = couple(Scores.given(matrix, temperature=temperature), rows, cols, sweeps=10, row_step=True)
        return -coupling.log_at(torch.arange(40), torch.arange(40)).mean()

    (single,), (double,) = gradients(value, [cosines]), gradients(value, [cosines.double()])
    assert single.isfinite().all()
    assert ((single - double).abs().max() * temperature) < 1e-6
    torch.testing.assert_close(value(cosines).double(), value(cosines.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [HCL, HCLOT])
def test_the_floor_of_the_debiased_losses_has_a_finite_gradient(kind: type[HCL] | type[HCLOT]) -> None:
    """Opposite samples and identical views: pos / negatives is e^200, beyond single precision."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    loss = kind(temperature=0.01, tau_plus=0.1)
    value = loss(z, z)
    assert value.isfinite()
    assert all(g.isfinite().all() for g in gradients(loss, [z, z]))
