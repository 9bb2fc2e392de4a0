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
HEADWAY = 1e-13
"""Steps that move no entry further do not lead to a centre: rounding has taken over."""
PATIENCE = 20
"""Steps at one mu within reach of its centre (decrement below one); more only chase rounding too."""


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        value: of a gram (C, C), a number.
        derivatives: gradient (P,) and Hessian (P, P) in the entries above the diagonal, P = C (C - 1) / 2.
    """

    value: Callable[[Tensor], float]
    derivatives: Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Arrival:
    """Where the path ends.

    Attributes:
        gram: the last one.
        drift: how far any entry went since the mu before, which was twenty times larger. What is left to go is less.
    """

    gram: Tensor
    drift: float


def central_path(objective: Objective, classes: int) -> Arrival:
    """Follow the path from the identity until mu reaches rounding, or no step makes headway.

    No earlier: a class of probability 1e-6 finds its place when mu is far below what the loss of the others shows.
    """
    gram = before = torch.eye(classes, dtype=torch.float64)
    if classes == 1:
        return Arrival(gram, 0.0)
    mu, pairs, drift = objective.value(gram), torch.triu_indices(classes, classes, 1), torch.inf
    tried = 0
    for _ in range(STEPS):
        step, decrement = _newton(objective, gram, mu, pairs)
        tried += 1
        moved = _line_search(objective, gram, step, decrement, mu)
        stuck = moved is None or float((moved - gram).abs().max()) < HEADWAY
        gram = gram if moved is None else moved
        if decrement < CENTRED:
            mu, tried = mu * SHRINK, 0
            before, drift = gram, float((gram - before).abs().max())
            if mu < SMALLEST * objective.value(gram):
                break
        elif stuck or (tried >= PATIENCE and decrement < 1):
            break
    return Arrival(gram, drift)


def _newton(objective: Objective, gram: Tensor, mu: float, pairs: Tensor) -> tuple[Tensor, float]:
    """The Newton step as a symmetric matrix, and its squared decrement in units of mu."""
    first, second = objective.derivatives(gram)
    i, j = pairs
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    slope = first / mu - 2 * inverse[i, j]
    curvature = second / mu + 2 * (inverse[i][:, i] * inverse[j][:, j] + inverse[i][:, j] * inverse[j][:, i])
    unit = curvature.diagonal().rsqrt()
    # Where rounding made it singular the step is not finite, and the line search ends the path.
    solved = torch.linalg.solve_ex(unit[:, None] * curvature * unit, -slope * unit)[0] * unit
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
