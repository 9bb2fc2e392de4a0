"""Who chooses the weights: the min player of alpha-CL, which keeps the energy low at the price of a regulariser.

    alpha = argmin over alpha >= 0, sum_j alpha_ij = m_i   of   sum_ij alpha_ij d_ij^2 + tau sum_ij R_q(alpha_ij)

    q = 1 (entropic)   R = a log a                      alpha_i = m_i softmax(-d_i^2 / tau)
    q = 0 (quadratic)  R = a^2 / 2                      alpha_i = [mu_i - d_i^2]_+ / tau, the projection on the simplex
    q > 1 (power)      R = a^(2 - q) / ((1 - q)(2 - q)) alpha_i = ((q - 1)(d_i^2 + mu_i) / tau)^(-1 / (q - 1))

In all of them R' is the q-logarithm up to a constant, so that one condition of optimality serves: d^2 + tau R'(alpha)
is the same for all pairs of a row that carry weight, and no smaller for those that carry none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from couplings.basics import checks
from couplings.basics.errors import NotConverged
from couplings.pieces.rules import Entropic, Rule
from couplings.plans.scores import Scores
from couplings.plans.solve import couple


@dataclass(frozen=True, eq=False)
class MinPlayer:
    """The problem that pair weights solve, row by row: energy plus regulariser on a simplex of mass m_i.

    Attributes:
        distances: d_ij^2 >= 0, (N, M) float64; infinity where a pair carries no weight.
        temperature: tau > 0, in units of d^2.
        rule: `Entropic()`, `Quadratic()` or `Power(q)`.
        mass: m_i > 0, (N,); one by default.

    Raises:
        InvalidInput: a row without a finite distance, tau <= 0, a mass <= 0.

    Source:
        Tian 2022 (arXiv 2201.12680): r_H, r_s and r_gamma (gamma = q - 1).

    Example:
        >>> import torch
        >>> from couplings import Quadratic
        >>> player = MinPlayer(torch.tensor([[0.0, 0.5, 2.0]], dtype=torch.float64), 1.0, Quadratic())
        >>> player.optimum().tolist()
        [[0.75, 0.25, 0.0]]
        >>> player.gap(player.optimum()).item() < 1e-12
        True
    """

    distances: Tensor
    temperature: float
    rule: Rule = field(default_factory=Entropic)
    mass: Tensor | None = None

    def __post_init__(self) -> None:
        checks.matrix("distances", self.distances)
        checks.finite_positive("temperature", self.temperature)
        full = self.admitted.any(1)
        checks.require(bool(full.all()), f"row {int((~full).int().argmax())} of distances has no finite entry: drop it")
        checks.require(self.masses.shape == full.shape, f"mass must have shape ({len(full)},), one entry a row")
        checks.require(bool((self.masses > 0).all()), f"mass must be > 0, got {float(self.masses.min()):g}")

    @property
    def admitted(self) -> Tensor:
        """Pairs that may carry weight, (N, M)."""
        return self.distances.isfinite()

    @property
    def masses(self) -> Tensor:
        """Row masses, (N,)."""
        return self.distances.new_ones(len(self.distances)) if self.mass is None else self.mass

    def objective(self, alpha: Tensor) -> Tensor:
        """sum_j alpha_ij d_ij^2 + tau R_q(alpha_ij) of each row, (..., N); infinite where R_q is."""
        cost = torch.where(self.admitted, self.distances, 0.0)
        penalty = torch.where(self.admitted, _regulariser(alpha, self.rule.q), 0.0)
        return (alpha * cost + self.temperature * penalty).sum(-1)

    def gap(self, alpha: Tensor) -> Tensor:
        """How far each row is from the conditions of optimality (KKT), (N,); zero for the optimum and it alone.

        The largest of: the spread of d^2 + tau R_q'(alpha) over pairs that carry weight, by how much a pair without
        weight lies below them, |row sum - mass|, and weight below zero or where there may be none.
        """
        level = self.distances + self.temperature * _slope(alpha.clamp_min(0), self.rule.q)
        carried = self.admitted & (alpha > 0)
        high = level.masked_fill(~carried, -torch.inf).amax(1)
        low = level.masked_fill(~self.admitted, torch.inf).amin(1)
        outside = torch.where(self.admitted, alpha.clamp_max(0), alpha).abs().amax(1)
        return torch.stack([high - low, (alpha.sum(1) - self.masses).abs(), outside]).amax(0)

    def optimum(self) -> Tensor:
        """The weights, (N, M), by the coupling that the library solves: rows Fixed, columns Free."""
        q, m = self.rule.q, self.distances.shape[1]
        scale = self.masses ** (q - 1) / float(self.rule.per_column(self.temperature, m))
        scores = Scores.given(-self.distances * scale[:, None], temperature=1.0)
        return couple(scores, rule=self.rule).conditional() * self.masses[:, None]

    def by_solver(self) -> Tensor:
        """The weights, (N, M), by a convex program (Clarabel through cvxpy) that knows no closed form; about 1e-6.

        Raises:
            NotConverged: the solver gave up.
        """
        import cvxpy as cp
        import numpy as np

        rows, cols = self.admitted.nonzero().numpy().T
        weights = cp.Variable(len(rows), nonneg=True)
        sums = np.equal.outer(np.arange(len(self.distances)), rows).astype(float)
        cost = self.distances[rows, cols].numpy() @ weights
        problem = cp.Problem(
            cp.Minimize(cost + self.temperature * _program(weights, self.rule.q)),
            [sums @ weights == self.masses.numpy()],
        )
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        return self._filled(weights.value, problem.status)

    def _filled(self, values: Any, status: str) -> Tensor:
        if status != "optimal":
            raise NotConverged(
                f"the convex program ended as {status!r}: raise the temperature, or scale distances to O(1)"
            )
        alpha = torch.zeros_like(self.distances)
        alpha[self.admitted] = torch.as_tensor(values, dtype=alpha.dtype)
        return alpha


def feasible_points(alpha: Tensor, admitted: Tensor, count: int, seed: int) -> Tensor:
    """Random weights >= 0 with the row sums of `alpha`, (count, N, M): every other one at 1 % of the way to another.

    The near ones are 0.99 alpha + 0.01 random, and so put weight on pairs that have none.

    Args:
        alpha: weights (N, M) around which to look.
        admitted: where weight may be, (N, M) booleans.
        count: how many, >= 1.
        seed: of the random numbers.

    Example:
        >>> import torch
        >>> alpha = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
        >>> feasible_points(alpha, alpha > 0, 4, seed=0).shape
        torch.Size([4, 1, 3])
    """
    checks.count("count", count)
    checks.require(count >= 1, f"count must be >= 1, got {count}")
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *alpha.shape)
    points = torch.rand(shape, generator=generator, dtype=alpha.dtype).pow(3) * admitted
    points = points / points.sum(2, keepdim=True) * alpha.sum(1, keepdim=True)
    points[::2] = 0.99 * alpha + 0.01 * points[::2]
    return points


def late_threshold(distances: Tensor, temperature: float) -> Tensor:
    """Quadratic weights with the threshold taken one element too late, (N, M): rows sum to more than one.

    A slip worth knowing, because it looks like the projection: with d^2 in ascending order, mu = (tau + the sum of the
    first k + 1) / (k + 1) where k is the size of the support; where all are in the support, mu = tau + the smallest.

    Args:
        distances: d_ij^2, (N, M), infinity where a pair carries no weight.
        temperature: tau > 0.

    Source:
        The code released with Tian 2022; its rows sum to 1.3 to 1.6 at tau = 0.5.

    Example:
        >>> import torch
        >>> round(late_threshold(torch.tensor([[0.0, 0.5, 2.0]]), 1.0).sum().item(), 4)
        1.8333
    """
    checks.finite_positive("temperature", temperature)
    ordered = distances.sort(1).values
    finite = ordered.isfinite()
    sums = torch.where(finite, ordered, 0.0).cumsum(1)
    levels = (temperature + sums) / torch.arange(1, distances.shape[1] + 1)
    rejected = finite & (ordered >= levels)
    level = levels.gather(1, rejected.int().argmax(1, keepdim=True))
    return (level - distances).clamp_min(0) / temperature


def _regulariser(alpha: Tensor, q: float) -> Tensor:
    if q == 1:
        shannon: Tensor = torch.special.xlogy(alpha, alpha)
        return shannon
    penalty: Tensor = -alpha.log() if q == 2 else alpha ** (2 - q) / ((1 - q) * (2 - q))
    return penalty


def _slope(alpha: Tensor, q: float) -> Tensor:
    slope: Tensor = alpha.log() if q == 1 else alpha ** (1 - q) / (1 - q)
    return slope


def _program(weights: Any, q: float) -> Any:
    """The same regulariser in the solver's words."""
    import cvxpy as cp

    if q == 1:
        return -cp.sum(cp.entr(weights))
    return -cp.sum(cp.log(weights)) if q == 2 else cp.sum(cp.power(weights, 2 - q)) / ((1 - q) * (2 - q))
