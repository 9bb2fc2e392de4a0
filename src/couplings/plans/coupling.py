"""A solved coupling: scores, two potentials, and what can be asked of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from ..basics import checks
from ..basics.errors import NotConverged
from ..basics.precision import full_precision, recorded
from ..engine import feasibility
from ..engine.grams import pick
from ..engine.sides import COLS, ROWS, Side, spread
from ..pieces.rules import Entropic, Rule
from .potentials import Potentials, Solved
from .scores import Scores


@dataclass(frozen=True, eq=False)
class Coupling:
    """P_ij = a_i b_j phi(f_i + g_j + s_ij / temperature): n + m numbers, a matrix only when asked for.

    Built by `couple`. Everything but `top` and `check` is differentiable.

    Example:
        >>> import torch
        >>> from couplings import Scores, couple
        >>> coupling = couple(Scores(torch.eye(3), temperature=0.5))
        >>> round(coupling.plan().sum().item(), 4)
        1.0
        >>> round(coupling.entropy().item(), 4)
        1.7642
    """

    scores: Scores
    potentials: Potentials
    rule: Rule
    sides: tuple[Side, Side]
    softness: tuple[float | Tensor, float | Tensor]

    @property
    def f(self) -> Tensor:
        """Potential of the rows, (n,), dimensionless."""
        return self.potentials.f

    @property
    def g(self) -> Tensor:
        """Potential of the columns, (m,), dimensionless."""
        return self.potentials.g

    @property
    def a(self) -> Tensor:
        """Reference weights of the rows, (n,)."""
        return self.sides[ROWS].weights

    @property
    def b(self) -> Tensor:
        """Reference weights of the columns, (m,)."""
        return self.sides[COLS].weights

    def __repr__(self) -> str:
        n, m = self.scores.shape
        rows, cols = ("constrained" if side.constrained else "free" for side in self.sides)
        return f"Coupling({n} x {m}, {self.rule!r}, rows {rows}, columns {cols})"

    def detach(self) -> Coupling:
        """The same coupling as a constant."""
        first, second = (c.detach() if isinstance(c, Tensor) else c for c in self.softness)
        scores, potentials = self.scores.detach(), self.potentials.detach()
        return replace(self, scores=scores, potentials=potentials, softness=(first, second))

    def rows(self, part: slice) -> Coupling:
        """The plan of some rows, with their share of the mass."""
        scores = self.scores.of_rows(part)
        if scores is self.scores:
            return self
        sides = self.sides[ROWS].part(part), self.sides[COLS]
        return replace(self, scores=scores, potentials=self.potentials.rows(part), sides=sides)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What a coupling of blocked scores is made of: embeddings and scales, and both potentials."""
        return (*self.scores.leaves, self.f, self.g)

    def with_leaves(self, *leaves: Tensor) -> Coupling:
        """The same coupling over other tensors, in the order of `leaves`."""
        return replace(self, scores=self.scores.with_leaves(*leaves[:-2]), potentials=Solved(*leaves[-2:]))

    def per_row(self, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """fn(coupling, rows, *parts), or of several ranges of its rows where the matrix is too large; concatenated.

        Each range is made again for the gradient, which reaches the coupling and the parts.
        """
        self._solve_first()
        return self.scores.map_rows(lambda part, plan, *rest: fn(plan.rows(part), part, *rest), self, *parts)

    def over_rows(self, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """The sum over ranges of rows of fn(coupling, *parts), which sums over rows."""
        self._solve_first()
        summed = partial(self.scores.map_rows, summed=True)
        return summed(lambda part, plan, *rest: fn(plan.rows(part), *rest), self, *parts)

    def _solve_first(self) -> None:
        """Before the first range of rows is made, not within it."""
        if not self.scores.whole:
            _ = self.f

    def log_at(self, i: Tensor, j: Tensor) -> Tensor:
        """log P at pairs (i, j) that the mask admits, any broadcastable index shapes, O(pairs d)."""
        exponent = pick(self.f, i) + pick(self.g, j) + self.scores.at(i, j)
        return self.rule.log_density(exponent) + self.sides[ROWS].log_at(i) + self.sides[COLS].log_at(j)

    def log_along(self, columns: Tensor) -> Tensor:
        """log P of each row at its own columns (n, p), which the mask admits."""
        if (normaliser := self.potentials.normaliser) is not None:
            return self.scores.along(columns) - normaliser[:, None] + self._log_rows
        exponent, g = self.scores.along(columns) + self.f[:, None], self.potentials.of_columns
        density = self.rule.log_density(exponent if g is None else exponent + pick(g, columns))
        return density + self._log_rows + self.sides[COLS].log_at(columns)

    @property
    def _log_rows(self) -> float | Tensor:
        """log a, (n, 1) or a number."""
        rows = self.sides[ROWS]
        return -math.log(rows.size) if rows.given is None else rows.log_weights[:, None]

    def log_conditional_at(self, i: Tensor, j: Tensor) -> Tensor:
        """log P(j | i) at the pairs (i, j)."""
        return self.log_at(i, j) - pick(torch.log(self.row_mass()), i)

    def log_plan(self) -> Tensor:
        """log P at all pairs, (n, m); minus infinity where a pair carries no mass."""
        if (normaliser := self.potentials.normaliser) is not None:
            return self.scores.matrix() - normaliser[:, None] + self._log_rows
        return self.rule.log_density(self._exponent()) + (self._log_rows + self.sides[COLS].log_weights)

    def _exponent(self) -> Tensor:
        """f_i + g_j + h_ij, (n, m)."""
        return self.scores.matrix() + (self.f[:, None] + self.g)

    def log_partition(self) -> Tensor:
        """log sum_j exp(g_j + s_ij / temperature) of each row, (n,): read off the potential of a softmax's rows.

        Only for an entropic plan whose rows were solved last, `Fixed`, with uniform columns: what losses build.
        """
        return self.potentials.log_partition

    @cached_property
    def _density(self) -> Tensor:
        """P_ij / a_i, (n, m)."""
        with recorded():
            return self.rule.density(self._exponent()) * self.b

    def plan(self) -> Tensor:
        """The plan as a matrix, (n, m)."""
        return self.a[:, None] * self._density

    def conditional(self) -> Tensor:
        """Rows of the plan rescaled to sum one, (n, m): the weights of each row's columns. Empty rows stay zero."""
        mass = self._density.sum(1, keepdim=True)
        return self._density / torch.where(mass > 0, mass, 1.0)

    def row_mass(self) -> Tensor:
        """P 1, (n,)."""
        return self.per_row(lambda plan, _: plan.a * plan._density.sum(1))

    def column_mass(self) -> Tensor:
        """P^T 1, (m,): how much mass each column attracts; hubs stand out."""
        with full_precision(self.scores.device):
            return self.over_rows(lambda plan: plan.a @ plan._density)

    def marginals(self) -> tuple[Tensor, Tensor]:
        """(row mass, column mass)."""
        return self.row_mass(), self.column_mass()

    def apply(self, v: Tensor) -> Tensor:
        """P v for v of shape (m,) or (m, k)."""
        with full_precision(self.scores.device):
            moved = self.per_row(lambda plan, _, v: plan._density @ v.to(plan._density), v)
        return spread(self.a, ROWS) * moved if v.dim() == 2 else self.a * moved

    def expect(self, scores: Scores) -> Tensor:
        """E_{P(.|i)}[other logits_ij] for each row, (n,); the mask of the plan decides the pairs."""
        if isinstance(self.rule, Entropic):
            return self.scores.moment(scores, self._log_columns)
        return self.per_row(lambda plan, part, scores: plan._expect(scores.of_rows(part)), scores)

    @property
    def _log_columns(self) -> Tensor | None:
        """log b + g, None where it is the same for all columns."""
        g = self.potentials.of_columns
        return None if g is None else g + self.sides[COLS].log_weights

    def _expect(self, scores: Scores) -> Tensor:
        weights = self.conditional()
        return (weights * torch.where(weights > 0, scores.unmasked(), 0.0)).sum(1)

    def log_expect(self, scores: Scores) -> Tensor:
        """log E_{P(.|i)}[exp(other logits_ij)] for each row, (n,): one log-sum-exp of added exponents."""
        if isinstance(self.rule, Entropic):
            return self.scores.log_moment(scores, self._log_columns)
        return self.per_row(lambda plan, part, scores: plan._log_expect(scores.of_rows(part)), scores)

    def _log_expect(self, scores: Scores) -> Tensor:
        weights = self.rule.log_density(self._exponent()) + self.sides[COLS].log_weights
        return torch.logsumexp(weights + scores.unmasked(), 1) - torch.logsumexp(weights, 1)

    def support_size(self) -> Tensor:
        """How many pairs the mask admits, 0-dim, in the dtype of the scores."""
        (n, m), mask = self.scores.shape, self.scores.mask
        pairs = self.scores.like.new_full((), n * m)
        return pairs if mask is None else pairs - mask.row_counts().sum()

    def dual(self) -> Tensor:
        """sum_ij a_i b_j Phi(f_i + g_j + h_ij) - <a, f> - <b, g>, 0-dim: the dual objective between Fixed sides.

        At any potentials it is at least <T, h> - Omega(T) for every plan T with these marginals; equal at the optimum.
        """
        return self.over_rows(_integral) - (self.a * self.f).sum() - (self.b * self.g).sum()

    def row_entropy(self) -> Tensor:
        """Entropy of P(.|i) in nats, (n,); its exponential is the effective number of columns of the row."""
        return self.per_row(lambda plan, _: _entropy(plan.conditional()).sum(1))

    def entropy(self) -> Tensor:
        """Entropy of the plan in nats: -sum P log P, P scaled to mass one; zero for a plan without mass."""
        mass = self.row_mass().sum()
        mass = torch.where(mass > 0, mass, 1.0)
        return self.over_rows(lambda plan, mass: _entropy(plan.plan() / mass).sum(), mass)

    def top(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The k heaviest pairs: (mass, row, column), heaviest first."""
        checks.count("k", k)
        plan = self.plan().detach()
        mass, where = plan.flatten().topk(min(k, plan.numel()))
        return mass, where // plan.shape[1], where % plan.shape[1]

    def error(self) -> Tensor:
        """L1 distance of the constrained sides' mass from what their marginals ask for, 0-dim.

        A `Fixed` side asks for its weights w, a `KL` side for w exp(-c potential), which is what optimality means.
        """
        total = self.f.new_zeros(())
        for side, mass, potential, c in zip(self.sides, self.marginals(), (self.f, self.g), self.softness, strict=True):
            if side.constrained:
                total = total + (mass - side.weights * torch.exp(-c * potential)).abs().sum()
        return total

    def check(self, tol: float = 1e-3) -> Coupling:
        """Return self if the marginals hold within `tol` (L1); the one call that synchronises and raises.

        Raises:
            NotConverged: with the error and what to do.
        """
        error = float(self.error().detach())
        if not error <= tol:
            usual = "run more sweeps, raise the temperature, or relax a side with KL(rho)"
            raise NotConverged(
                f"the plan's marginals are off by {error:.3g} (L1), tol is {tol:g}: {self._shortage() or usual}"
            )
        return self

    def _shortage(self) -> str | None:
        """Why no balanced plan exists under the mask, if the potentials show it."""
        mask, fixed = self.scores.mask, not any(bool(c) for c in self.softness)
        balanced = fixed and all(side.constrained for side in self.sides)
        return feasibility.shortage(mask, self.a, self.b, [self.f]) if balanced and mask is not None else None

    @property
    def empty_rows(self) -> int:
        """How many rows carry no mass (only with `skip_empty=True`)."""
        return int((self.row_mass() <= 0).sum())


def _integral(plan: Coupling) -> Tensor:
    """sum_ij a_i b_j Phi(f_i + g_j + h_ij)."""
    integral = plan.rule.integral(plan._exponent())
    return (plan.a[:, None] * integral * plan.b).sum()


def _entropy(p: Tensor) -> Tensor:
    """-p log p, zero at zero, with a finite gradient there."""
    return -p * torch.log(torch.where(p > 0, p, 1.0))
