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
from ..engine import sphere
from ..engine.dense import COLS, ROWS, Dense, spread
from ..engine.grams import pick
from ..pieces.rules import Entropic, Rule
from . import feasibility
from .potentials import Deferred, Potentials, Solved
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
    potentials: Potentials
    rule: Rule
    sides: tuple[Side, Side]
    softness: tuple[Tensor, Tensor]

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
        softness = (self.softness[ROWS].detach(), self.softness[COLS].detach())
        scores = self.scores.detach()
        if "storage" in self.scores.__dict__:  # not computed a second time
            scores.__dict__["storage"] = Dense(self.scores.storage.logits.detach())
        return replace(self, scores=scores, potentials=self.potentials.detach(), softness=softness)

    def rows(self, part: slice) -> Coupling:
        """The plan of some rows, with their share of the mass."""
        side = replace(self.sides[ROWS], weights=self.a[part])
        scores = self.scores.block(part, slice(None))
        return replace(self, scores=scores, potentials=self.potentials.rows(part), sides=(side, self.sides[COLS]))

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What a coupling of blocked scores is made of: embeddings and scales, and both potentials."""
        return (*self.scores.leaves, self.f, self.g)

    def with_leaves(self, *leaves: Tensor) -> Coupling:
        """The same coupling over other tensors, in the order of `leaves`."""
        return replace(self, scores=self.scores.with_leaves(*leaves[:-2]), potentials=Solved(*leaves[-2:]))

    def per_row(self, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """fn(coupling, rows, *parts), or of panels of its rows where the matrix is too large; concatenated.

        Each panel is made again for the gradient, which reaches the coupling and the parts.
        """
        if not self.scores.blocked:
            return fn(self, slice(0, len(self.a)), *parts)
        _ = self.f  # solved before the first panel, not within it
        return self.scores.by_panels(lambda part, plan, *rest: fn(plan.rows(part), part, *rest), self, *parts)

    def over_rows(self, fn: Callable[..., Tensor], *parts: object) -> Tensor:
        """The sum over panels of fn(coupling, *parts), which sums over rows."""
        if not self.scores.blocked:
            return fn(self, *parts)
        _ = self.f
        summed = partial(self.scores.by_panels, summed=True)
        return summed(lambda part, plan, *rest: fn(plan.rows(part), *rest), self, *parts)

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
        with recorded():
            return self._made_density()

    def _made_density(self) -> Tensor:
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
        return self.per_row(lambda plan, _: plan.a * plan._density.sum(1))

    def column_mass(self) -> Tensor:
        """P^T 1, (m,): how much mass each column attracts; hubs stand out."""
        with full_precision(self.f.device):
            return self.over_rows(lambda plan: plan.a @ plan._density)

    def marginals(self) -> tuple[Tensor, Tensor]:
        """(row mass, column mass)."""
        return self.row_mass(), self.column_mass()

    def apply(self, v: Tensor) -> Tensor:
        """P v for v of shape (m,) or (m, k)."""
        with full_precision(self.f.device):
            moved = self.per_row(lambda plan, _, v: plan._density @ v.to(plan._density), v)
        return spread(self.a, ROWS) * moved if v.dim() == 2 else self.a * moved

    def expect(self, scores: Scores) -> Tensor:
        """E_{P(.|i)}[other logits_ij] for each row, (n,); the mask of the plan decides the pairs."""
        with full_precision(self.g.device):
            sums = sphere.moment(self.scores, scores, self._log_columns) if self._by_tiles(scores) else None
            if sums is None:
                return self.per_row(lambda plan, part, scores: plan._expect(scores.of_rows(part)), scores)
        mass, total = sums
        return total / torch.where(mass > 0, mass, 1.0)

    def _by_tiles(self, scores: Scores) -> bool:
        """Whether what rows expect is a ratio of sums that tiles make: it does not depend on their potential then."""
        return self.scores.tiled and scores.tiled and isinstance(self.rule, Entropic)

    @property
    def _log_columns(self) -> Tensor | None:
        """log b + g, None where it is the same for all columns."""
        return None if isinstance(self.potentials, Deferred) else self.g + torch.log(self.b)

    def _expect(self, scores: Scores) -> Tensor:
        weights = self.conditional()
        return (weights * torch.where(weights > 0, scores.unmasked(), 0.0)).sum(1)

    def log_expect(self, scores: Scores) -> Tensor:
        """log E_{P(.|i)}[exp(other logits_ij)] for each row, (n,): one log-sum-exp of added exponents."""
        both = self.scores, self.scores + scores
        with full_precision(self.g.device):
            sums = sphere.log_sums(*both, log_weights=self._log_columns) if self._by_tiles(scores) else None
            if sums is None:
                return self.per_row(lambda plan, part, scores: plan._log_expect(scores.of_rows(part)), scores)
        log_weights, log_weighed = sums[0].unbind(0)
        return log_weighed - log_weights

    def _log_expect(self, scores: Scores) -> Tensor:
        exponent = self.scores.storage.logits + (self.f[:, None] + self.g)
        weights = self.rule.log_density(exponent) + torch.log(self.b)
        return torch.logsumexp(weights + scores.unmasked(), 1) - torch.logsumexp(weights, 1)

    def support_size(self) -> Tensor:
        """How many pairs the mask admits, 0-dim, in the dtype of the scores."""
        if self.scores.blocked and (mask := self.scores.mask) is not None:
            n, m = self.scores.shape
            return self.a.new_tensor(n * m) - mask.row_counts().sum()
        return self.over_rows(_support)

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


def _support(plan: Coupling) -> Tensor:
    logits = plan.scores.storage.logits
    return (logits > -torch.inf).sum().to(logits.dtype)


def _integral(plan: Coupling) -> Tensor:
    """sum_ij a_i b_j Phi(f_i + g_j + h_ij)."""
    integral = plan.rule.integral(plan.scores.storage.logits + (plan.f[:, None] + plan.g))
    return (plan.a[:, None] * integral * plan.b).sum()


def _entropy(p: Tensor) -> Tensor:
    """-p log p, zero at zero, with a finite gradient there."""
    return -p * torch.log(torch.where(p > 0, p, 1.0))
