"""The encoder's side of the game: gradient descent on free embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.pieces.costs import Cost

from .game import F64, Positives, Psi, gains
from .worst import worst_plan


@dataclass(frozen=True, eq=False)
class Descent:
    """Where an encoder without constraints ends against an adversary.

    Attributes:
        embeddings: unit rows, (N, d).
        values: the adversary's E psi before each step and at the end, (steps + 1,).
    """

    embeddings: Tensor
    values: Tensor


Adversary = Callable[[Tensor, Positives], Tensor]
"""Gains (K, N) to a plan (K, N)."""


def descend(
    positives: Positives,
    psi: Psi | None = None,
    adversary: Adversary | None = None,
    *,
    dim: int = 3,
    steps: int = 150,
    rate: float = 0.2,
    seed: int = 0,
    cost: Cost | None = None,
) -> Descent:
    """Gradient descent on free embeddings against the worst plan of each step, from random unit rows.

    By Danskin's theorem the gradient of the worst case is that of E_P psi at the worst P held still, also with a
    regulariser, which does not depend on f.

    Args:
        positives: the law of (x, x+).
        psi: `Logistic()` by default.
        adversary: gains (K, N) to a plan (K, N); the unrestricted worst case by default.
        dim: d of the sphere's space.
        steps: number of steps.
        rate: first step size; it falls linearly to a hundredth of it.
        seed: of the first embeddings.
        cost: what f(x).f(y) is; the cosine by default.

    Raises:
        InvalidInput, NotConverged: those of the adversary and of `gains`.

    Cost:
        One linear program, or one regularised plan, a step.

    Example:
        >>> import torch
        >>> from couplings_theory.minmax import Positives, descend
        >>> end = descend(Positives.of_groups(torch.tensor([0, 0, 1, 1])), steps=200)
        >>> round(float(end.values[-1]), 3)
        0.693
    """
    checks.count("steps", steps)
    checks.finite_positive("rate", rate)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(positives.mass), dim, generator=generator, dtype=F64)
    z, values = torch.nn.functional.normalize(start, dim=1), []
    for step in range(steps + 1):
        z.requires_grad_()
        gain = gains(z, positives, psi, cost=cost)
        expected = ((adversary or _unrestricted)(gain.detach(), positives) * gain).sum()
        values.append(float(expected.detach()))
        if step < steps:
            (slope,) = torch.autograd.grad(expected, z)
            z = torch.nn.functional.normalize(z.detach() - rate * (1 - 0.99 * step / steps) * len(z) * slope, dim=1)
    return Descent(z.detach(), torch.tensor(values, dtype=F64))


def _unrestricted(values: Tensor, positives: Positives) -> Tensor:
    return worst_plan(values, positives).plan
