"""Exponentials in place that keep denormals away: on a CPU one costs many times another number, when it is made and
whenever it is multiplied, and low temperatures are full of them.

What is below LOWEST is nothing beside the one that a sum's highest term or a plan's own mass is, and leaves room for a
factor before products are denormal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOWEST = {torch.float32: -50.0, torch.float64: -600.0}
"""The lowest exponent that counts."""


def exp_(x: Tensor) -> Tensor:
    """exp(x) in place, zero below the lowest exponent."""
    lowest = LOWEST[x.dtype]
    return torch.threshold_(x.clamp_min_(lowest).exp_(), 1.01 * math.exp(lowest), 0.0)


def log_sum_exp(x: Tensor, exponents: Tensor, dim: int, out: Tensor) -> Tensor:
    """log sum exp(x + exponents) along a dimension; `out` is scratch in the shape of x."""
    torch.add(x, exponents, out=out)
    top = out.amax(dim, keepdim=True)
    finite = torch.where(top.isinf(), 0.0, top)
    sums = out.sub_(finite).clamp_min_(LOWEST[x.dtype]).exp_().sum(dim, keepdim=True)
    return torch.where(top.isinf(), top, sums.log_().add_(finite)).squeeze(dim)
