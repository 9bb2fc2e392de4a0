"""Embeddings without an encoder: what a loss does to points that may go anywhere on the sphere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from couplings.basics import checks
from couplings.diagnostics import alignment, uniformity
from couplings.pieces.marginals import Fixed
from couplings.pieces.masks import SameId
from couplings.plans.scores import Scores
from couplings.plans.solve import couple

F64 = torch.float64


@dataclass(frozen=True)
class Record:
    """One look at the embeddings.

    Attributes:
        step: steps done before it.
        loss: value there.
        alignment: E_T |z_i - z_j|^2 over the positives or the target's pairs, in [0, 4].
        uniformity: log E exp(-2 |z_i - z_j|^2) over all pairs, <= 0; lower is more spread.
    """

    step: int
    loss: float
    alignment: float
    uniformity: float


@dataclass(frozen=True)
class FreeEmbeddings:
    """Where a loss led free embeddings.

    Attributes:
        views: (2, n, d), rows of norm one.
        records: every `every` steps and at the end.
    """

    views: Tensor
    records: tuple[Record, ...]

    @property
    def final(self) -> Record:
        """The last record."""
        return self.records[-1]


def free_embeddings(
    loss: Callable[..., Tensor],
    n: int,
    d: int,
    *,
    seed: int,
    steps: int = 150,
    learning_rate: float = 0.1,
    every: int = 10,
    target: Tensor | None = None,
) -> FreeEmbeddings:
    """Minimise a loss over two views of n samples, each row its own parameter on the unit sphere.

    Adam on the rows, which are scaled back to norm one after each step. The start is uniform on the sphere.

    Args:
        loss: called with both views (n, d) and, where one is given, `target=`.
        n: samples >= 2.
        d: dimensions >= 2.
        seed: of the start.
        steps: >= 1; the budget.
        learning_rate: > 0.
        every: steps between records, >= 1.
        target: the plan to match, (2n, 2n) of mass one, in view order; the loss's own positives when None.

    Raises:
        InvalidInput: sizes out of range, whatever the loss refuses.

    Cost:
        `steps` gradients of the loss.

    Source:
        Alignment and uniformity as in Wang and Isola 2020.

    Example:
        >>> from couplings import GCAINCE
        >>> from couplings_theory.alignment import free_embeddings
        >>> run = free_embeddings(GCAINCE(0.5, sweeps=1), n=3, d=2, seed=0, steps=60)
        >>> round(run.final.alignment, 2), len(run.records)
        (0.0, 7)
    """
    _sizes(n=n, d=d)
    _sizes(1, steps=steps, every=every)
    checks.finite_positive("learning_rate", learning_rate)
    generator = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(2, n, d, generator=generator, dtype=F64), dim=2).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=learning_rate)
    records = []
    for step in range(steps + 1):
        value = loss(*z) if target is None else loss(*z, target=target)
        if step % every == 0 or step == steps:
            records.append(_record(step, value, z.detach(), target))
        if step < steps:
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
            with torch.no_grad():
                z.copy_(normalize(z, dim=2))
    return FreeEmbeddings(z.detach(), tuple(records))


def _sizes(least: int = 2, **sizes: int) -> None:
    for name, value in sizes.items():
        checks.count(name, value)
        checks.require(value >= least, f"{name} must be >= {least}, got {value}")


def _record(step: int, value: Tensor, views: Tensor, target: Tensor | None) -> Record:
    rows = views.flatten(0, 1)
    near = alignment(*views) if target is None else (target * (2 - 2 * rows @ rows.T)).sum()
    return Record(step, float(value.detach()), float(near), float(uniformity(rows)))


def teacher_target(n: int, d: int, temperature: float, noise: float, seed: int) -> Tensor:
    """A target that fewer dimensions cannot meet: the balanced plan of random points in d dimensions, (2n, 2n).

    Two noisy views of n random directions; pairs of a sample with itself carry nothing. All marginals are uniform.

    Args:
        n: samples >= 2.
        d: the teacher's dimensions.
        temperature: of its plan, > 0.
        noise: standard deviation of each coordinate of a view around its direction, >= 0.
        seed: of the points.

    Raises:
        InvalidInput: sizes out of range, negative noise.
        NotConverged: a temperature so low that 5000 sweeps do not balance the plan.

    Example:
        >>> from couplings_theory.alignment import teacher_target
        >>> round(teacher_target(4, 8, 0.3, 0.2, seed=0).sum().item(), 6)
        1.0
    """
    _sizes(n=n, d=d)
    checks.finite_nonnegative("noise", noise)
    generator = torch.Generator().manual_seed(seed)
    centre = normalize(torch.randn(n, d, generator=generator, dtype=F64), dim=1).repeat(2, 1)
    views = normalize(centre + noise * torch.randn(2 * n, d, generator=generator, dtype=F64), dim=1)
    itself = SameId(torch.arange(2 * n), torch.arange(2 * n))
    scores = Scores(views, temperature=temperature, mask=itself)
    return couple(scores, Fixed(), Fixed(), sweeps=5000, tol=1e-13).check(1e-9).plan()


def aligned_simplex(n: int) -> Tensor:
    """Two equal views of n points at equal distances as far apart as can be, cosine -1 / (n - 1): (2, n, n).

    Example:
        >>> from couplings_theory.alignment import aligned_simplex
        >>> round((aligned_simplex(3)[0, 0] @ aligned_simplex(3)[1, 1]).item(), 6)
        -0.5
    """
    _sizes(n=n)
    corners = normalize(torch.eye(n, dtype=F64) - 1 / n, dim=1)
    return torch.stack([corners, corners])


def simplex_loss(n: int, temperature: float) -> float:
    """log(1 + 2 (n - 1) exp(-(n / (n - 1)) / eps)): GCA-INCE of the aligned simplex after any number of sweeps.

    The least value of any two views of n samples in any dimension (`docs/theory/alignment.md` derives it).

    Args:
        n: samples >= 2.
        temperature: eps > 0.

    Example:
        >>> from couplings_theory.alignment import simplex_loss
        >>> round(simplex_loss(4, 0.5), 6)
        0.348472
    """
    checks.temperature(temperature)
    _sizes(n=n)
    return math.log1p(2 * (n - 1) * math.exp(-n / (n - 1) / temperature))


def simplex_uniformity(n: int) -> float:
    """`couplings.diagnostics.uniformity` of both views of the aligned simplex, in closed form.

    Example:
        >>> from couplings_theory.alignment import simplex_uniformity
        >>> round(simplex_uniformity(8), 5)
        -2.57282
    """
    _sizes(n=n)
    equal = 1 / (2 * n - 1)
    return math.log(equal + (1 - equal) * math.exp(-4 * n / (n - 1)))
