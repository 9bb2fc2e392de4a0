"""Plans by sweeps in the log domain; thresholds by sorting or by a root finder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from scipy.optimize import brentq
from torch import Tensor

from .world import Temperature

HalfStep: TypeAlias = Callable[[Tensor, Tensor, float | Tensor], Tensor]


def entropic(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
    """The f of c f + log sum_j w_j e^{f + x_ij} = 0."""
    return -(x + weights.log()).logsumexp(1) / (1 + c)


def quadratic(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
    """The f of sum_j w_j [1 + f + x_ij]_+ = 1: sort, take the largest support whose last entry is positive."""
    seen = (x > -torch.inf) & (weights > 0)
    ranked, order = torch.where(seen, x, -torch.inf).sort(1, descending=True)
    real = ranked > -torch.inf
    finite, w = torch.where(real, ranked, 0.0), weights[order] * real
    f = (1 - (w * (1 + finite)).cumsum(1)) / w.cumsum(1)
    size = ((1 + f + finite > 0) & real).sum(1, keepdim=True)
    return f.gather(1, size - 1).squeeze(1)


def power(q: float) -> HalfStep:
    """The f of sum_j w_j (1 - (q - 1)(f + x_ij))^{-1/(q - 1)} = 1, by Brent's method and one implicit step."""

    def mass(f: Temperature, row: Tensor, weights: Tensor) -> Tensor:
        return (weights * (1 - (q - 1) * (f + row)) ** (-1 / (q - 1))).sum()

    def solve(x: Tensor, weights: Tensor, c: Temperature = 0.0) -> Tensor:
        result = []
        for row in x:
            seen, w = row[row > -torch.inf], weights[row > -torch.inf]
            fixed = seen.detach()
            pole = 1 / (q - 1) - float(fixed.max())
            root = brentq(lambda f, s=fixed, v=w: float(mass(f, s, v)) - 1, pole - 1e6, pole - 1e-13, xtol=1e-15)
            slope = (w * (1 - (q - 1) * (root + fixed)) ** (-q / (q - 1))).sum()
            result.append(root - (mass(root, seen, w) - 1) / slope)
        return torch.stack(result)

    return solve


def half_step(q: float) -> HalfStep:
    """Entropic for q = 1, quadratic for q = 0."""
    return {0.0: quadratic, 1.0: entropic}.get(q) or power(q)


def q_exp(x: Tensor, q: float) -> Tensor:
    """phi_q: exp for q = 1, [1 + x]_+ for q = 0."""
    return x.exp() if q == 1 else (1 - (q - 1) * x).clamp_min(0) ** (1 / (1 - q))


def q_exp_integral(x: Tensor, q: float) -> Tensor:
    """Phi with Phi' = phi_q; zero where phi_q is."""
    return x.exp() if q == 1 else (1 - (q - 1) * x).clamp_min(0) ** ((2 - q) / (1 - q)) / (2 - q)


def q_exp_conjugate(y: Tensor, q: float) -> Tensor:
    """sup_x x y - Phi(x)."""
    return y * y.log() - y if q == 1 else (y ** (2 - q) / (2 - q) - y) / (1 - q)


@dataclass(frozen=True, eq=False)
class Potentials:
    """f and g of P_ij = a_i b_j phi(f_i + g_j + x_ij)."""

    f: Tensor
    g: Tensor


def uniform(size: int) -> Tensor:
    """Weights 1 / size."""
    return torch.full((size,), 1.0 / size, dtype=torch.float64)


def sweep(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    sweeps: int,
    *,
    row_step: bool = False,
    c: tuple[Temperature, Temperature] = (0.0, 0.0),
    step: HalfStep = entropic,
) -> Potentials:
    """Rows, then columns, so many times."""
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(sweeps):
        f = step(x + g, b, c[0])
        g = step((x + f[:, None]).T, a, c[1])
    return Potentials(step(x + g, b, c[0]) if row_step else f, g)


def converged(x: Tensor, a: Tensor, b: Tensor, *, c: float = 0.0, step: HalfStep = entropic) -> Potentials:
    """Sweeps until g moves by a constant, which rows undo; c softens the columns."""
    g = torch.zeros_like(b)
    for _ in range(5_000):
        f = step(x + g, b, 0.0)
        new = step((x + f[:, None]).T, a, c)
        moved = (new - g).detach()[b > 0]
        g = new
        if float(moved.max() - moved.min()) < 1e-13:
            break
    return Potentials(step(x + g, b, 0.0), g)


def conditional(x: Tensor, b: Tensor, p: Potentials, rule: float = 1.0) -> Tensor:
    """P(j | i): rows of the plan, scaled to sum one."""
    plan = b * q_exp(p.f[:, None] + p.g + x, rule)
    return plan / plan.sum(1, keepdim=True)
