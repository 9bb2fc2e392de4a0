"""What solving without a matrix takes: no tensor of n m numbers, and little kept for the gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from couplings import GCAINCE, KL, Entropic, Fixed, Free, Marginal, Quadratic, Rule, Scores, SquaredEuclidean, couple
from couplings.basics.sizes import limited
from couplings.engine.exponentials import LOWEST, exp_, log_sum_exp
from largest import largest_tensor

N, D, PANEL = 256, 4, 1 << 12


def _largest(step: Callable[[], Tensor], budget: int) -> int:
    with limited(dense=0, panel=PANEL, tile=32, budget=budget):
        return largest_tensor(lambda: step().backward())


def _views() -> list[Tensor]:
    return [torch.randn(N // 2, D, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("temperature", [0.2, 0.01])
def test_nothing_as_large_as_the_matrix_is_ever_made(temperature: float) -> None:
    views = _views()
    loss = GCAINCE(temperature, sweeps=10)
    assert _largest(lambda: loss(*views), budget=0) <= max(PANEL, 2 * 21 * N)
    assert _largest(lambda: loss(*views), budget=4 * N * N) == N * N
    assert _largest(lambda: loss(*views), budget=4 * N * N - 1) < N * N


@pytest.mark.parametrize("rule", [Entropic(), Quadratic()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("sides", [(Fixed(), KL()), (Free(), Fixed()), (KL(), KL())])
def test_nor_for_other_costs_rules_and_marginals(rule: Rule, sides: tuple[Marginal, Marginal]) -> None:
    q, k = torch.randn(N, D, requires_grad=True), torch.randn(N, D, requires_grad=True)

    def step() -> Tensor:
        coupling = couple(Scores(q, k, temperature=2.0, cost=SquaredEuclidean()), *sides, sweeps=3, rule=rule)
        return coupling.f.sum() + (coupling.g**2).sum()

    assert _largest(step, budget=0) <= PANEL


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_kept_for_the_gradient_are_embeddings_and_two_vectors_a_sweep(budget: int) -> None:
    def kept(sweeps: int) -> int:
        storages: dict[int, int] = {}
        alive: list[Tensor] = []

        def pack(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            alive.append(x)
            return x

        views = _views()
        with limited(dense=0, panel=PANEL, budget=budget), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = GCAINCE(sweeps=sweeps)(*views)
        assert loss.requires_grad
        return sum(storages.values())

    assert kept(1) <= 4 * (8 * N * D + 40 * N), "a few copies of the embeddings and vectors"
    assert 0 < kept(21) - kept(1) <= 20 * 2 * N * 4


def test_exponentials_have_no_denormals_and_the_right_values() -> None:
    for dtype, lowest in LOWEST.items():
        x = torch.tensor([0.0, -1.0, lowest + 1, lowest - 1, 2 * lowest, -torch.inf, torch.nan], dtype=dtype)
        expected = torch.where(x < lowest, 0.0, torch.exp(x))
        torch.testing.assert_close(exp_(x.clone()), expected, equal_nan=True)


@pytest.mark.parametrize("dim", [0, 1])
def test_log_sums_are_those_of_torch(dim: int) -> None:
    x = 40 * torch.randn(6, 6)
    x[2], x[:, 3], x[4, 4] = -torch.inf, -torch.inf, torch.nan
    exponents = torch.randn(6) if dim else torch.randn(6, 1)
    ours = log_sum_exp(x, exponents, dim, torch.empty_like(x))
    torch.testing.assert_close(ours, torch.logsumexp(x + exponents, dim), equal_nan=True)
