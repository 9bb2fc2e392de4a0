"""Plans whose rows alone are constrained: softmaxes, whose potential is a log-sum-exp, made when it is asked for.

    f_i = -log( (1 / m) sum_j exp(h_ij) ) / (1 + c)

What such a plan expects of its rows does not depend on f, so a loss of expectations never pays for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from ..basics import checks, looks
from ..basics.precision import recorded
from ..engine import feasibility
from ..engine.sides import Side
from ..pieces.marginals import Marginal
from ..pieces.rules import Entropic
from .coupling import Coupling
from .potentials import Solved
from .scores import Scores


@dataclass(frozen=True, eq=False)
class OfSoftmax:
    """Of rows over equal, free columns: f = log(m) - log sum_j exp(h_ij), over 1 + c.

    Attributes:
        solve: gives the log-sum-exps (n,), when they are asked for: what a plan expects of its rows needs none.
        columns: m.
        softness: c.
    """

    solve: Callable[[], Tensor]
    columns: int
    softness: float | Tensor

    @cached_property
    def log_partition(self) -> Tensor:
        """Solved now."""
        with recorded():
            return self.solve()

    @cached_property
    def f(self) -> Tensor:
        """Zero for a row without an admissible pair."""
        with recorded():
            f = (math.log(self.columns) - self.log_partition) / (1 + self.softness)
            return torch.where(f.isinf(), 0.0, f)

    @cached_property
    def g(self) -> Tensor:
        """Zeros."""
        with recorded():
            return self.log_partition.new_zeros(self.columns)

    @property
    def of_columns(self) -> None:
        """They have none."""
        return None

    @property
    def normaliser(self) -> Tensor | None:
        """The log-sum-exp, where rows are `Fixed`."""
        return self.log_partition if isinstance(self.softness, float) else None

    def __reduce__(self) -> tuple[type[Solved], tuple[Tensor, Tensor]]:
        return Solved, (self.f, self.g)

    def detach(self) -> OfSoftmax:
        """Without its gradient."""
        softness = self.softness.detach() if isinstance(self.softness, Tensor) else self.softness
        return OfSoftmax(lambda: self.log_partition.detach(), self.columns, softness)

    def rows(self, part: slice) -> OfSoftmax:
        """Some of the rows, still not solved."""
        return OfSoftmax(lambda: self.log_partition[part], self.columns, self.softness)


def row_softmax(scores: Scores, rows: Marginal | None = None) -> Coupling:
    """The plan of one row half-step over uniform, free columns; rows are `Fixed()` unless given."""
    (n, m), like = scores.shape, scores.like
    weights = None if rows is None or rows.weights is None else rows.resolve("rows", n, like)
    a = Side(n, like, True, weights)
    c = rows.softness(scores.temperature, like) if rows is not None and rows.soft else 0.0
    potentials = OfSoftmax(partial(_solved, scores, a), m, c)
    if checks.checks_enabled():
        if scores.whole or not scores.built_in:  # a cost that is not ours may return NaN
            _ = potentials.log_partition
        elif scores.mask is not None:
            alone = scores.mask.row_counts() == m
            feasibility.solvable("row", torch.where(alone, torch.inf, 0.0), a)
    return Coupling(scores, potentials, Entropic(), (a, Side(m, like, False)), (c, 0.0))


def row_softmax_both_ways(there: Scores, back: Scores) -> tuple[Coupling, Coupling]:
    """Row softmaxes of scores and of their transpose, solved in one pass."""
    once, plans = _Once(there), (row_softmax(there), row_softmax(back))
    first, second = (
        replace(plan, potentials=OfSoftmax(partial(once.solved, plan, side), plan.scores.shape[1], 0.0))
        for side, plan in enumerate(plans)
    )
    return first, second


@dataclass(frozen=True, eq=False)
class _Once:
    """The log-sum-exps over both axes."""

    scores: Scores

    @cached_property
    def log_sums(self) -> tuple[Tensor, Tensor] | None:
        with recorded():
            return self.scores.log_sum_exp_both_ways()

    def solved(self, plan: Coupling, side: int) -> Tensor:
        known = self.log_sums
        return _solved(plan.scores, plan.sides[0], None if known is None else known[side])


def _solved(scores: Scores, rows: Side, log_sums: Tensor | None = None) -> Tensor:
    log_sums = scores.log_sum_exp() if log_sums is None else log_sums
    if checks.checks_enabled():
        numbers = log_sums.detach()
        looks.expect_finite((numbers * 0).sum(), partial(feasibility.unsolvable, "row", numbers, rows))
    return log_sums
