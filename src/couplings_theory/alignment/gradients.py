"""The gradient of matching a plan: (P - T) / eps where the plan is the best of its kind, another one elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.pieces.marginals import Fixed
from couplings.plans.scores import Scores
from couplings.plans.solve import couple

from .projections import divergence


def dual_gradient(plan: Tensor, target: Tensor, temperature: float) -> Tensor:
    """(P - T) / eps: the gradient of KL(T || P) in the scores, exact for the row step alone and at convergence.

    Args:
        plan: P, (n, m).
        target: T, (n, m), with the marginals that P is made for.
        temperature: eps > 0.

    Raises:
        InvalidInput: different shapes, temperature <= 0.

    Source:
        Danskin's theorem on the dual; I3 of the bridges in `docs/identities.md`.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import dual_gradient
        >>> dual_gradient(torch.full((1, 2), 0.5), torch.tensor([[1.0, 0.0]]), 0.5).tolist()
        [[-1.0, 1.0]]
    """
    checks.temperature(temperature)
    checks.require(plan.shape == target.shape, f"plan is {tuple(plan.shape)} but target {tuple(target.shape)}")
    return (plan - target) / temperature


def matching_gradient(scores: Tensor, target: Tensor, temperature: float, sweeps: int) -> tuple[Tensor, Tensor]:
    """d KL(T || P) / ds through all sweeps by `couplings.couple`'s adjoint, and P: T sweeps and a row step.

    Args:
        scores: s, (n, m).
        target: T, (n, m); its own marginals are the plan's.
        temperature: eps > 0.
        sweeps: >= 0; 0 is the row step alone, InfoNCE's plan.

    Returns:
        (gradient, plan), (n, m) each.

    Cost:
        O(sweeps n m).

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import matching_gradient
        >>> gradient, plan = matching_gradient(torch.zeros(2, 2), torch.eye(2) / 2, 0.5, 0)
        >>> gradient.round(decimals=6).tolist()
        [[-0.5, 0.5], [0.5, -0.5]]
    """
    leaf = scores.detach().clone().requires_grad_()
    given = Scores.given(leaf, temperature=temperature)
    plan = couple(given, Fixed(target.sum(1)), Fixed(target.sum(0)), sweeps=sweeps, row_step=True).plan()
    (gradient,) = torch.autograd.grad(divergence(target, plan), leaf)
    return gradient, plan.detach()


def gradient_residual(
    scores: Tensor,
    target: Tensor,
    temperature: float,
    sweeps: int,
    dual: Callable[[Tensor, Tensor, float], Tensor] = dual_gradient,
) -> float:
    """|dKL/ds - (P - T) / eps| / |dKL/ds| after so many sweeps, Frobenius norms.

    Arguments and errors as `matching_gradient`; `dual` is what the gradient is compared with.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import gradient_residual
        >>> gradient_residual(torch.eye(2), torch.eye(2).flip(0) / 2, 0.5, 0) < 1e-6
        True
    """
    gradient, plan = matching_gradient(scores, target, temperature, sweeps)
    return float((gradient - dual(plan, target, temperature)).norm() / gradient.norm())


def convergence_rate(plan: Tensor) -> float:
    """By how much a sweep shrinks the distance from the balanced plan, in [0, 1): near it, asymptotically.

    The square of the second singular value of P_ij / sqrt(a_i b_j), a and b the plan's own marginals: one half-step's
    linearisation is g -> -P^T f / b, the next one's f -> -P g / a.

    Args:
        plan: a balanced plan, (n, m), rows and columns with mass.

    Cost:
        One singular value decomposition.

    Source:
        Knight 2008 for the rate.

    Example:
        >>> import torch
        >>> from couplings_theory.alignment import convergence_rate
        >>> round(convergence_rate(torch.tensor([[0.4, 0.1], [0.1, 0.4]])), 4)
        0.36
    """
    checks.matrix("plan", plan)
    checks.require(min(plan.shape) > 1, f"plan must have two rows and two columns or more, got {tuple(plan.shape)}")
    scaled = plan / (plan.sum(1, keepdim=True) * plan.sum(0)).sqrt()
    return float(torch.linalg.svdvals(scaled)[1] ** 2)
