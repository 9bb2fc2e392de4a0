"""The worst coupling of the negatives: a linear program, and the dual potentials that prove its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from couplings.basics.errors import NotConverged
from couplings.pieces.costs import Cost

from .game import F64, Positives, Psi, gains

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class WorstCoupling:
    """The coupling that maximises the expected gain, and the proof that none is worse.

    Attributes:
        gains: psi(v), (K, N, ..., N).
        plan: probabilities of each positive pair with each choice of negatives, (K, N, ..., N).
        row_potential: u (K,) of the dual program.
        column_potentials: w (m, N), one row a negative: u_i + sum_k w_k,j_k >= gains up to `violation`.
        weights: probabilities of the positive pairs, (K,).
        mass: that of the points, (N,).
    """

    gains: Tensor
    plan: Tensor
    row_potential: Tensor
    column_potentials: Tensor
    weights: Tensor
    mass: Tensor

    @property
    def value(self) -> float:
        """E psi under the plan."""
        return float((self.plan * self.gains).sum())

    @property
    def bound(self) -> float:
        """No coupling has a larger E psi: the dual value, with potentials raised until they are feasible."""
        covered = _outer_sum(self.row_potential, self.column_potentials)
        violation = float((self.gains - covered).max().clamp_min(0))
        return float(self.weights @ self.row_potential + (self.column_potentials @ self.mass).sum()) + violation

    @property
    def gap(self) -> float:
        """bound - value: the certificate of optimality, zero up to rounding."""
        return self.bound - self.value

    @property
    def marginal_error(self) -> float:
        """The largest miss of a marginal, or negative entry, of the plan."""
        sides = [(self.plan.flatten(1).sum(1), self.weights)]
        sides += [(self.plan.movedim(axis, 0).flatten(1).sum(1), self.mass) for axis in range(1, self.plan.dim())]
        misses = [float((got - wanted).abs().max()) for got, wanted in sides]
        return max(*misses, float(-self.plan.min()))


def worst_plan(values: Tensor, positives: Positives) -> WorstCoupling:
    """The worst coupling for given gains (K, N, ..., N), by linear programming; see `worst_coupling`."""
    from scipy.optimize import linprog

    fixed = values.detach()
    m = fixed.dim() - 1
    wanted = torch.cat([positives.weights, positives.mass.repeat(m)])
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(-fixed.flatten().numpy(), A_eq=_marginals(tuple(fixed.shape)), b_eq=wanted.numpy(), options=options)
    if found.status != 0:
        raise NotConverged(f"the linear program of {fixed.numel():,} variables was not solved: {found.message}")
    dual = -torch.as_tensor(found.eqlin.marginals, dtype=F64)
    k, n = fixed.shape[0], fixed.shape[1]
    plan = torch.as_tensor(found.x, dtype=F64).reshape(fixed.shape)
    return WorstCoupling(fixed, plan, dual[:k], dual[k:].reshape(m, n), positives.weights, positives.mass)


def worst_coupling(
    embeddings: Tensor, positives: Positives, psi: Psi | None = None, *, negatives: int = 1, cost: Cost | None = None
) -> WorstCoupling:
    """The worst case of E psi over all couplings of (x, x+) with the negatives, marginals fixed.

    Args:
        embeddings: f, shape (N, d).
        positives: the law of (x, x+).
        psi: `Logistic()` by default; any non-decreasing function (..., m) to (...). -psi gives the mildest coupling.
        negatives: m >= 1. Each has marginal p; they may depend on each other.
        cost: what f(x).f(y) is; the cosine by default.

    Returns:
        The value, the plan and the dual potentials that prove it.

    Raises:
        InvalidInput: see `gains`.
        NotConverged: the solver gave up.

    Cost:
        A linear program of K N^m variables (HiGHS): 2 ms for 8 points and one negative.

    Source:
        Jiang, Ishwar, Aeron, arXiv 2111.03169; the program is ours.

    Example:
        >>> import torch
        >>> from couplings_theory.minmax import Positives, worst_coupling
        >>> worst = worst_coupling(torch.ones(4, 2), Positives.of_groups(torch.tensor([0, 0, 1, 1])))
        >>> round(worst.value, 6), worst.gap < 1e-9
        (0.693147, True)
    """
    return worst_plan(gains(embeddings, positives, psi, negatives=negatives, cost=cost), positives)


def _outer_sum(rows: Tensor, columns: Tensor) -> Tensor:
    """u_i + sum_k w_k,j_k, (K, N, ..., N)."""
    total = rows
    for column in columns:
        total = total[..., None] + column
    return total


def _marginals(shape: tuple[int, ...]) -> csr_matrix:
    """The matrix that takes a flat plan to its marginals, one axis after the other."""
    import numpy as np
    from scipy.sparse import csr_matrix

    offsets = np.cumsum([0, *shape[:-1]])
    rows = np.concatenate([(index + offset).ravel() for index, offset in zip(np.indices(shape), offsets, strict=True)])
    size = int(np.prod(shape))
    columns = np.tile(np.arange(size), len(shape))
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(int(sum(shape)), size))
