"""A solved coupling: scores, two potentials, and what can be asked of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from . import checks
from ._storage.dense import COLS, ROWS, Dense, spread
from ._storage.grams import pick
from .errors import NotConverged
from .precision import full_precision
from .rules import Rule
from .scores import Scores


@dataclass(frozen=True, eq=False)
class Side:
    """Rows or columns of a problem: reference weights, and whether they constrain the plan."""

    weights: Tensor
    constrained: bool


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
    f: Tensor
    g: Tensor
    rule: Rule
    sides: tuple[Side, Side]
    softness: tuple[Tensor, Tensor]

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
        softness = (self.softness[ROWS].detach(), self.softness[COLS].detach())
        scores = self.scores.detach()
        scores.__dict__["storage"] = Dense(self.scores.storage.logits.detach())  # not computed a second time
        return replace(self, scores=scores, f=self.f.detach(), g=self.g.detach(), softness=softness)

    def log_at(self, i: Tensor, j: Tensor) -> Tensor:
        """log P at pairs (i, j) that the mask admits, any broadcastable index shapes, O(pairs d)."""
        exponent = pick(self.f, i) + pick(self.g, j) + self.scores.at(i, j)
        return torch.log(pick(self.a, i)) + torch.log(pick(self.b, j)) + self.rule.log_density(exponent)

    def log_conditional_at(self, i: Tensor, j: Tensor) -> Tensor:
        """log P(j | i) at the pairs (i, j)."""
        return self.log_at(i, j) - pick(torch.log(self.row_mass()), i)

    def log_plan(self) -> Tensor:
        """log P at all pairs, (n, m); minus infinity where a pair carries no mass."""
        exponent = self.scores.storage.logits + (self.f[:, None] + self.g)
        return self.rule.log_density(exponent) + (torch.log(self.a)[:, None] + torch.log(self.b))

    def log_partition(self) -> Tensor:
        """log sum_j exp(g_j + s_ij / temperature) of each row, (n,): read off the potential of a softmax's rows.

        Only for an entropic plan whose rows were solved last, `Fixed`, with uniform columns: what losses build.
        """
        return -self.f + math.log(len(self.b))

    @cached_property
    def _density(self) -> Tensor:
        """P_ij / a_i, (n, m)."""
        return self.rule.density(self.scores.storage.logits + (self.f[:, None] + self.g)) * self.b

    def plan(self) -> Tensor:
        """The plan as a matrix, (n, m)."""
        return self.a[:, None] * self._density

    def conditional(self) -> Tensor:
        """Rows of the plan rescaled to sum one, (n, m): the weights of each row's columns. Empty rows stay zero."""
        mass = self._density.sum(1, keepdim=True)
        return self._density / torch.where(mass > 0, mass, 1.0)

    def row_mass(self) -> Tensor:
        """P 1, (n,)."""
        return self.a * self._density.sum(1)

    def column_mass(self) -> Tensor:
        """P^T 1, (m,): how much mass each column attracts; hubs stand out."""
        with full_precision(self.f.device):
            return self.a @ self._density

    def marginals(self) -> tuple[Tensor, Tensor]:
        """(row mass, column mass)."""
        return self.row_mass(), self.column_mass()

    def apply(self, v: Tensor) -> Tensor:
        """P v for v of shape (m,) or (m, k)."""
        with full_precision(self.f.device):
            moved = self._density @ v.to(self._density)
        return spread(self.a, ROWS) * moved if v.dim() == 2 else self.a * moved

    def expect(self, scores: Scores) -> Tensor:
        """E_{P(.|i)}[other logits_ij] for each row, (n,); the mask of the plan decides the pairs."""
        weights = self.conditional()
        return (weights * torch.where(weights > 0, scores.unmasked(), 0.0)).sum(1)

    def log_expect(self, scores: Scores) -> Tensor:
        """log E_{P(.|i)}[exp(other logits_ij)] for each row, (n,): one log-sum-exp of added exponents."""
        exponent = self.scores.storage.logits + (self.f[:, None] + self.g)
        weights = self.rule.log_density(exponent) + torch.log(self.b)
        return torch.logsumexp(weights + scores.unmasked(), 1) - torch.logsumexp(weights, 1)

    def support_size(self) -> Tensor:
        """How many pairs the mask admits, 0-dim, in the dtype of the scores."""
        logits = self.scores.storage.logits
        return (logits > -torch.inf).sum().to(logits.dtype)

    def dual(self) -> Tensor:
        """sum_ij a_i b_j Phi(f_i + g_j + h_ij) - <a, f> - <b, g>, 0-dim: the dual objective between Fixed sides.

        At any potentials it is at least <T, h> - Omega(T) for every plan T with these marginals; equal at the optimum.
        """
        integral = self.rule.integral(self.scores.storage.logits + (self.f[:, None] + self.g))
        total = (self.a[:, None] * integral * self.b).sum()
        return total - (self.a * self.f).sum() - (self.b * self.g).sum()

    def row_entropy(self) -> Tensor:
        """Entropy of P(.|i) in nats, (n,); its exponential is the effective number of columns of the row."""
        return _entropy(self.conditional()).sum(1)

    def entropy(self) -> Tensor:
        """Entropy of the plan in nats: -sum P log P, P scaled to mass one; zero for a plan without mass."""
        plan = self.plan()
        mass = plan.sum()
        return _entropy(plan / torch.where(mass > 0, mass, 1.0)).sum()

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
            raise NotConverged(
                f"the plan's marginals are off by {error:.3g} (L1), tol is {tol:g}: run more sweeps, raise the "
                "temperature, or relax a side with KL(rho)"
            )
        return self

    @property
    def empty_rows(self) -> int:
        """How many rows carry no mass (only with `skip_empty=True`)."""
        return int((self.row_mass() <= 0).sum())


def _entropy(p: Tensor) -> Tensor:
    """-p log p, zero at zero, with a finite gradient there."""
    return -p * torch.log(torch.where(p > 0, p, 1.0))
