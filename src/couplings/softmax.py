"""Plans whose rows alone are constrained: softmaxes, whose potential is solved for when it is asked for.

    f_i = -log( (1 / m) sum_j exp(h_ij) ) / (1 + c)

What such a plan expects of its rows does not depend on f, so a loss of expectations never pays for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import checks, feasibility
from ._storage import sphere
from .coupling import Coupling, Deferred, Side
from .marginals import Marginal
from .rules import Entropic
from .scores import Scores, by_panels


def row_softmax(scores: Scores, rows: Marginal) -> Coupling:
    """The plan of one row half-step over uniform, free columns, by tiles or panels."""
    like = scores.terms[0].gram.like
    n, m = scores.shape
    a = rows.resolve("rows", n, like)
    c = rows.softness(scores.temperature, like)
    if scores.mask is not None and checks.checks_enabled():
        alone = scores.mask.row_counts() == m
        feasibility.solvable("row", torch.where(alone, torch.inf, 0.0), a)
    potentials = Deferred(lambda: _potential(scores, a, c), like.new_zeros(m))
    sides = Side(a, True), Side(like.new_full((m,), 1 / m), False)
    return Coupling(scores, potentials, Entropic(), sides, (c, like.new_zeros(())))


def _potential(scores: Scores, a: Tensor, c: Tensor) -> Tensor:
    tiled = sphere.log_sums(scores)
    log_sums = tiled[0][0] if tiled is not None else by_panels(scores.panels(), lambda part: _panel(scores, part))
    f = (math.log(scores.shape[1]) - log_sums) / (1 + c)
    if checks.checks_enabled():
        feasibility.solvable("row", f.detach(), a)
    return torch.where(f.isinf(), 0.0, f)


def _panel(scores: Scores, part: slice) -> Tensor:
    return torch.logsumexp(scores.of_rows(part).storage.logits, 1)
