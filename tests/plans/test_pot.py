"""Plans agree with the Python Optimal Transport library."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from couplings import KL, Fixed, Quadratic, Scores, SquaredEuclidean, couple
from helpers import F64

N, M = 6, 8


def _problem(uniform: bool) -> tuple[Tensor, Tensor, Tensor]:
    matrix = torch.rand(N, M, dtype=F64)
    if uniform:
        return matrix, torch.full((N,), 1 / N, dtype=F64), torch.full((M,), 1 / M, dtype=F64)
    a, b = torch.rand(N, dtype=F64) + 0.2, torch.rand(M, dtype=F64) + 0.2
    return matrix, a / a.sum(), b / b.sum()


def _close(ours: Tensor, theirs: np.ndarray, tol: float) -> None:
    torch.testing.assert_close(ours, torch.as_tensor(theirs), atol=tol, rtol=0)


@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_balanced_entropic(temperature: float, uniform: bool) -> None:
    matrix, a, b = _problem(uniform)
    theirs = ot.bregman.sinkhorn_log(
        a.numpy(), b.numpy(), -matrix.numpy(), temperature, stopThr=1e-13, numItermax=20000
    )
    scores = Scores.given(matrix, temperature=temperature)
    _close(couple(scores, Fixed(a), Fixed(b), sweeps=20000, tol=1e-13).plan(), theirs, 1e-11)


@pytest.mark.parametrize("rho", [(1.0, 1.0), (0.3, 2.0)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_unbalanced_with_reference_a_x_b(temperature: float, rho: tuple[float, float]) -> None:
    matrix, a, b = _problem(uniform=False)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        a.numpy(), b.numpy(), -matrix.numpy(), temperature, list(rho), reg_type="kl", stopThr=1e-14, numItermax=20000
    )
    scores = Scores.given(matrix, temperature=temperature)
    _close(couple(scores, KL(rho[0], a), KL(rho[1], b), sweeps=2000).plan(), theirs, 1e-10)


def test_semi_relaxed_is_the_limit_of_one_firm_side() -> None:
    matrix, a, b = _problem(uniform=False)
    theirs = ot.unbalanced.sinkhorn_unbalanced(
        a.numpy(), b.numpy(), -matrix.numpy(), 0.3, [float("inf"), 0.7], reg_type="kl", stopThr=1e-14, numItermax=20000
    )
    _close(couple(Scores.given(matrix, temperature=0.3), Fixed(a), KL(0.7, b), sweeps=2000).plan(), theirs, 1e-10)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_quadratic_against_the_counting_measure(temperature: float) -> None:
    """Reference a x b at `temperature` is reg = n m temperature for uniform weights."""
    matrix, a, b = _problem(uniform=True)
    reg = N * M * temperature
    theirs = ot.smooth.smooth_ot_dual(
        a.numpy(), b.numpy(), -matrix.numpy(), reg, reg_type="l2", stopThr=1e-14, numItermax=20000
    )
    scores = Scores.given(matrix, temperature=temperature)
    ours = couple(scores, Fixed(a), Fixed(b), sweeps=3000, tol=1e-10, rule=Quadratic()).plan()
    _close(ours, theirs, 1e-7)
    assert (ours == 0).any() == (temperature == 0.1)
    other_solver = ot.solve(-matrix.numpy(), a.numpy(), b.numpy(), reg=reg, reg_type="L2", tol=1e-12).plan
    _close(ours, other_solver, 1e-5)


def test_squared_euclidean_scores_are_minus_pots_cost() -> None:
    q, k = torch.randn(N, 3, dtype=F64), torch.randn(M, 3, dtype=F64)
    _close(-Scores(q, k, cost=SquaredEuclidean()).matrix(), ot.dist(q.numpy(), k.numpy()), 1e-12)


def test_a_temperature_of_one_ten_thousandth_in_single_precision() -> None:
    """Where kernels underflow: the marginal error stays below 1e-4."""
    points = torch.rand(6, 2)
    scores = Scores(points, torch.rand(6, 2), cost=SquaredEuclidean(), temperature=1e-4)
    assert couple(scores, Fixed(), Fixed(), sweeps=20000, tol=9e-5).error() < 1e-4
