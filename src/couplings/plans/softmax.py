"""Plans whose rows alone are constrained: softmaxes, whose potential is solved for when it is asked for.

    f_i = -log( (1 / m) sum_j exp(h_ij) ) / (1 + c)

What such a plan expects of its rows does not depend on f, so a loss of expectations never pays for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from ..basics import checks
from ..basics.precision import recorded
from ..engine import sphere
from ..pieces.marginals import Fixed, Marginal
from ..pieces.rules import Entropic
from . import feasibility
from .coupling import Coupling, Side
from .potentials import Deferred, Solved
from .scores import Scores


def row_softmax(scores: Scores, rows: Marginal) -> Coupling:
    """The plan of one row half-step over uniform, free columns: now from one matrix, later by tiles or panels."""
    like = scores.terms[0].gram.like
    n, m = scores.shape
    a = rows.resolve("rows", n, like)
    c = rows.softness(scores.temperature, like)
    sides = Side(a, True), Side(like.new_full((m,), 1 / m), False)
    softness = c, like.new_zeros(())
    if not (scores.tiled or scores.blocked):
        return Coupling(scores, Solved(_potential(scores, a, c, None), like.new_zeros(m)), Entropic(), sides, softness)
    if scores.mask is not None and checks.checks_enabled():
        alone = scores.mask.row_counts() == m
        feasibility.solvable("row", torch.where(alone, torch.inf, 0.0), a)
    potentials = Deferred(lambda: _potential(scores, a, c, _tiled(scores)), like.new_zeros(m))
    return Coupling(scores, potentials, Entropic(), sides, softness)


def row_softmax_both_ways(there: Scores, back: Scores) -> tuple[Coupling, Coupling]:
    """Row softmaxes of scores and of their transpose, solved in one pass."""
    once = _Once(there)
    plans = row_softmax(there, Fixed()), row_softmax(back, Fixed())
    solved = [Deferred(partial(once.potential, plan, side), plan.g) for side, plan in enumerate(plans)]
    first, second = (replace(plan, potentials=late) for plan, late in zip(plans, solved, strict=True))
    return first, second


@dataclass(frozen=True, eq=False)
class _Once:
    """The log-sum-exps over both axes."""

    scores: Scores

    @cached_property
    def log_sums(self) -> tuple[Tensor, Tensor] | None:
        with recorded():
            return sphere.log_sums(self.scores, columns=True)

    def potential(self, plan: Coupling, side: int) -> Tensor:
        known = self.log_sums
        return _potential(plan.scores, plan.a, plan.softness[0], None if known is None else known[side][0])


def _potential(scores: Scores, a: Tensor, c: Tensor, log_sums: Tensor | None) -> Tensor:
    if log_sums is None:
        log_sums = _untiled(scores)
    f = (math.log(scores.shape[1]) - log_sums) / (1 + c)
    if checks.checks_enabled():
        feasibility.solvable("row", f.detach(), a)
    return torch.where(f.isinf(), 0.0, f)


def _tiled(scores: Scores) -> Tensor | None:
    known = sphere.log_sums(scores) if scores.tiled else None
    return None if known is None else known[0][0]


def _untiled(scores: Scores) -> Tensor:
    if not scores.blocked:
        return torch.logsumexp(scores.storage.logits, 1)
    return scores.by_panels(lambda part, whole: torch.logsumexp(whole.of_rows(part).storage.logits, 1), scores)
