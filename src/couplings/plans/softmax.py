"""Plans whose rows alone are constrained: softmaxes, whose potential is a log-sum-exp, made when it is asked for.

    f_i = -log( (1 / m) sum_j exp(h_ij) ) / (1 + c)

What such a plan expects of its rows does not depend on f, so a loss of expectations never pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import recorded
from ..engine import feasibility
from ..engine.sides import Side
from ..pieces.marginals import Fixed, Marginal
from ..pieces.rules import Entropic
from .coupling import Coupling
from .potentials import OfSoftmax
from .scores import Scores


def row_softmax(scores: Scores, rows: Marginal) -> Coupling:
    """The plan of one row half-step over uniform, free columns."""
    (n, m), like = scores.shape, scores.like
    a = Side(n, like, True, None if rows.weights is None else rows.resolve("rows", n, like))
    c = rows.softness(scores.temperature, like) if rows.soft else 0.0
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
    once, plans = _Once(there), (row_softmax(there, Fixed()), row_softmax(back, Fixed()))
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
        feasibility.solvable("row", log_sums, rows)
    return log_sums
