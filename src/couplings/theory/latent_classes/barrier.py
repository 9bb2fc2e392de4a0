"""A barrier method for convex functions of a correlation matrix: the elliptope, G_cc = 1 and G positive definite.

For falling mu, Newton's method minimises L(G) - mu log det G over the off-diagonal entries. On this central path the
slack is Z = mu G^-1, so the gap is mu C and optima on the boundary (classes that merge, G of low rank) are approached
at a linear rate, where methods on factors G = V V^T crawl. Everything is in units of L: only ratios to mu matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CENTRED = 0.1
"""Squared Newton decrement, in units of mu, at which the next mu is taken."""
SHRINK = 0.05
"""The next mu in units of this one."""
STEPS = 2000
"""Newton steps in all; problems that can be solved take 20 to 300, the more the larger the scale."""
SMALLEST = 1e-16
"""Of mu in units of the value: below, rounding decides."""
ARMIJO = 0.1


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        value: of a gram (C, C), a number.
        derivatives: gradient (P,) and Hessian (P, P) in the entries above the diagonal, P = C (C - 1) / 2.
    """

    value: Callable[[Tensor], float]
    derivatives: Callable[[Tensor], tuple[Tensor, Tensor]]


def central_path(objective: Objective, classes: int, good: Callable[[Tensor], bool]) -> Tensor:
    """Follow the path from the identity until a gram is good, or no step makes headway; returns the last gram."""
    gram = torch.eye(classes, dtype=torch.float64)
    if classes == 1:
        return gram
    mu, pairs = objective.value(gram), torch.triu_indices(classes, classes, 1)
    for _ in range(STEPS):
        step, decrement = _newton(objective, gram, mu, pairs)
        moved = _line_search(objective, gram, step, decrement, mu)
        gram = gram if moved is None else moved
        if decrement < CENTRED:
            mu *= SHRINK
            if good(gram) or mu < SMALLEST * objective.value(gram):
                break
        elif moved is None:
            break
    return gram


def _newton(objective: Objective, gram: Tensor, mu: float, pairs: Tensor) -> tuple[Tensor, float]:
    """The Newton step as a symmetric matrix, and its squared decrement in units of mu."""
    first, second = objective.derivatives(gram)
    i, j = pairs
    inverse = torch.linalg.inv(gram)
    slope = first / mu - 2 * inverse[i, j]
    curvature = second / mu + 2 * (inverse[i][:, i] * inverse[j][:, j] + inverse[i][:, j] * inverse[j][:, i])
    unit = curvature.diagonal().rsqrt()
    solved = torch.linalg.solve(unit[:, None] * curvature * unit, -slope * unit) * unit
    step = torch.zeros_like(gram)
    step[i, j] = step[j, i] = solved
    return step, float(-slope @ solved)


def _line_search(objective: Objective, gram: Tensor, step: Tensor, decrement: float, mu: float) -> Tensor | None:
    """The longest halving of the step that stays inside and lowers the barrier function; None where none does."""
    start, length = _barrier(objective, gram, mu), 1.0
    while length > 1e-10:
        moved = gram + length * step
        if _barrier(objective, moved, mu) <= start - ARMIJO * length * decrement:
            return moved
        length /= 2
    return None


def _barrier(objective: Objective, gram: Tensor, mu: float) -> float:
    root, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        return torch.inf
    return objective.value(gram) / mu - 2 * float(root.diagonal().log().sum())
