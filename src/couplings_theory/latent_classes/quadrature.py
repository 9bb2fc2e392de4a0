"""The expectation over k independent negatives as one smooth integral: exact for any number of classes and negatives.

For an anchor of class c let Y = e^a_cj where the negative's class j ~ rho, and X the sum of k independent copies. Then

    log(1 + X) = int_0^inf (e^-t / t) (1 - e^-tX) dt,    so
    E log(1 + X) = int_-inf^inf e^-t (1 - phi(t)^k) du,  t = e^u,  phi(t) = E e^-tY = sum_j rho_j e^(-t e^a_cj).

The integrand is analytic for |Im u| < pi/2 and decays exponentially on both sides: the trapezoidal rule with step h
is off by about e^(-pi^2 / h), which is below float64's rounding for the step used here.

Collisions (j = c, a = 0) cost E log(1 + n_c) whatever the gram is. What the gram can change is the *excess* over that,
and it is integrated on its own: at large scales it is many orders smaller, and keeps its digits this way.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

STEP = 0.25
"""e^(-pi^2 / h) = 7e-18."""
TAIL = 40.0
"""Both ends are cut where the integrand is below e^-40 = 4e-18 of its size."""
SATURATED = 7.0
"""e^(-e^7) is zero in float64: larger exponents make no difference, and overflow."""
ENTRIES = 2**24
"""Nodes times classes squared in one piece; more are made again in the backward pass (128 MiB a tensor)."""


def log_times(largest: float, k: int) -> Tensor:
    """The nodes u = log t (T,) for exponents up to `largest`."""
    low = -TAIL - math.log(k) - max(0.0, largest)
    return torch.arange(low, math.log(TAIL) + STEP, STEP, dtype=torch.float64)


def collision_rows(prior: Tensor, k: int) -> Tensor:
    """E log(1 + n_c) for each class (C,), n_c ~ Binomial(k, rho_c)."""
    u = log_times(0.0, k)[:, None]
    spared = -torch.expm1(k * _log_apart(u, prior))
    return _trapezoid(u, spared)


def excess_rows(exponents: Tensor, prior: Tensor, k: int) -> Tensor:
    """What each class (C,) pays beyond its collisions: E log(1 + X) - E log(1 + n_c).

    Args:
        exponents: a (C, C) with a zero diagonal.
        prior: rho (C,).
        k: negatives.
    """
    u = log_times(float(exponents.detach().max()), k)
    if len(u) * exponents.numel() <= ENTRIES:
        return _excess(exponents, prior, k, u, torch.arange(len(prior)))
    pieces = math.ceil(len(u) * exponents.numel() / ENTRIES)
    blocks = torch.arange(len(prior)).chunk(pieces)
    parts = [checkpoint(_excess, exponents, prior, k, u, rows, use_reentrant=False) for rows in blocks]
    return torch.cat(parts)


def _excess(exponents: Tensor, prior: Tensor, k: int, u: Tensor, rows: Tensor) -> Tensor:
    u, apart = u[:, None], _log_apart(u[:, None], prior[rows])
    z = _products(exponents[rows], u)
    log_ratio = _log_ratio(z, prior, apart, rows)
    return _trapezoid(u, -torch.exp(k * apart) * torch.expm1(k * log_ratio))


def row_derivatives(exponents: Tensor, prior: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Gradient (C, C) and Hessian (C, C, C) of each row of `excess_rows` in its own exponents.

    The entries of the exponent that is zero by definition (j = c) are zero.
    """
    rows = torch.arange(len(prior))
    u = log_times(float(exponents.max()), k)[:, None]
    apart, z = _log_apart(u, prior), _products(exponents, u)
    log_phi = apart + _log_ratio(z, prior, apart, rows)
    others = prior * (1 - torch.eye(len(prior), dtype=torch.float64))
    first = others * z * torch.exp(-z)  # -d phi / d a, (T, C, C)
    weight = STEP * torch.exp(-u.exp()) * k * torch.exp((k - 1) * log_phi)  # (T, C)
    gradient = torch.einsum("tc,tcj->cj", weight, first)
    curved = torch.einsum("tc,tcj->cj", weight, first * (1 - z))
    crossed = weight * (k - 1) * torch.exp(-log_phi)
    outer = torch.einsum("tci,tcj->cij", crossed[:, :, None] * first, first)
    return gradient, torch.diag_embed(curved) - outer


def _products(exponents: Tensor, u: Tensor) -> Tensor:
    """t e^a, (T, rows, C)."""
    return torch.exp((u[:, :, None] + exponents).clamp(max=SATURATED))


def _log_apart(u: Tensor, prior: Tensor) -> Tensor:
    """log phi were all other classes infinitely far, (T, rows)."""
    return _log1p(prior * torch.expm1(-u.exp()))


def _log_ratio(z: Tensor, prior: Tensor, apart: Tensor, rows: Tensor) -> Tensor:
    """log phi minus that: the other classes' share, (T, rows)."""
    other = prior.expand(len(rows), -1).scatter(1, rows[:, None], 0.0)
    share = torch.einsum("tcj,cj->tc", torch.expm1(-z), other)
    return _log1p(share * torch.exp(-apart))


def _log1p(x: Tensor) -> Tensor:
    """log(1 + x); where phi is zero (x = -1) it is finite and has no gradient."""
    return torch.log1p(x.clamp(min=-1 + 2.0**-53))


def _trapezoid(u: Tensor, values: Tensor) -> Tensor:
    """int e^-t values du over the first dimension."""
    return STEP * (torch.exp(-u.exp()) * values).sum(0)
