"""Limits: contrastive losses of many negatives, and weights among many views."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

from couplings import CACR, DecoupledInfoNCE, InfoNCE, Loss, Scores, couple
from couplings.pieces.costs import SquaredEuclidean
from couplings_theory import attraction_repulsion as model
from couplings_theory.claim import Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import attraction_repulsion as figures

from .pairs import drawn_views

__all__ = ["infonce_limit", "query_dependent"]

Expected = Callable[[Tensor, Tensor, float, int], Tensor]
Weighing = Callable[[Tensor, float, int], Tensor]

_TAU = 0.3


def _parts(detach_weights: bool) -> CACR:
    """Attraction and repulsion in units of s / tau: |z - z'|^2 / (2 tau) = (1 - s) / tau."""
    half = 1 / (2 * _TAU)
    return CACR(t_negative=half, alpha=half, beta=half, detach_weights=detach_weights)


def infonce_limit(
    parts: Loss | None = None,
    expected: Expected = model.expected_infonce,
    counts: Sequence[int] = (16, 64, 256, 1024, 4096),
) -> Finding:
    """One gradient in two forms, and the limit of many negatives with its rate."""
    views = drawn_views(2, 12, 4, 0)
    whole = _gradient(DecoupledInfoNCE(_TAU, across_views=True), views)
    constant, through = _gradient(parts or _parts(True), views), _gradient(_parts(False), views)
    positive, negative = (views[0] * views[1]).sum(1), views[0] @ views[1].T
    limit, rate = model.population_infonce(positive, negative, _TAU), model.approach_rate(positive, negative, _TAU)
    distance = torch.stack([expected(positive, negative, _TAU, k) - math.log(k) - limit for k in counts])
    reached = distance[-1] * counts[-1] / rate
    checks = (
        equal("relative distance of the gradients, constant weights", _relative(constant, whole), 0.0, 1e-12),
        at_least("and with the gradient through the weights", _relative(through, whole), 0.05),
        equal("expected InfoNCE, k = 2, less the library's, all 144 draws", _enumerated(expected, views), 0.0, 1e-12),
        equal("k times distance from the limit over its rate, k = 4096", reached.item(), 1.0, 0.01),
        at_most("distance from the limit, k = 4096", distance[-1].abs().item(), 1e-2),
        equal("farthest weight of the limit's gradient from the softmax", _limit_weights(positive, views), 0.0, 1e-12),
    )
    counted = {k: at.item() for k, at in zip(counts, distance, strict=True)}
    return Finding(checks, _limit_picture(counted, rate.item(), whole, constant, through))


def _limit_picture(
    counted: Mapping[int, float], rate: float, whole: Tensor, constant: Tensor, through: Tensor
) -> Picture:
    pairs = {
        "gradient through the weights": (whole.flatten().numpy(), through.flatten().numpy()),
        "constant weights": (whole.flatten().numpy(), constant.flatten().numpy()),
    }
    draw = partial(
        figures.draw_limit,
        counts=np.array(list(counted), dtype=np.float64),
        distance=np.array(list(counted.values())),
        rate=rate,
        gradients=pairs,
    )
    caption = (
        f"Left: 12 queries and keys in 4 dimensions, tau = {_TAU}; expectations are exact, not sampled. Right: every "
        "entry of the gradients; with constant weights both are the same, differentiable weights make another loss."
    )
    title = "InfoNCE is attraction and repulsion with constant weights"
    return Picture(draw, (10.5, 4.4), title, caption)


def _gradient(loss: Loss, views: Tensor) -> Tensor:
    free = views.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(*free), free)
    return gradient


def _relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).square().sum() / other.square().sum()).sqrt().item()


def _enumerated(expected: Expected, views: Tensor) -> float:
    """The distance of the expectation from the library's InfoNCE, averaged over all pairs of negatives."""
    pool, positive = views[1], (views[0] * views[1]).sum(1)
    draws = [pool[list(pair)].expand(len(pool), -1, -1) for pair in product(range(len(pool)), repeat=2)]
    library = torch.stack([InfoNCE(_TAU)(*views, negatives=negatives) for negatives in draws]).mean()
    sides = [expected(positive, view @ pool.T, _TAU, 2) for view in views]
    return (torch.stack(sides).mean() - library).abs().item()


def _limit_weights(positive: Tensor, views: Tensor) -> float:
    """Of negatives, against the library's plan of rows."""
    negative = (views[0] @ views[1].T).requires_grad_()
    (gradient,) = torch.autograd.grad(model.population_infonce(positive, negative, _TAU), negative)
    plan = couple(Scores(views[0], views[1], temperature=_TAU)).conditional()
    return (_TAU * len(positive) * gradient - plan).abs().max().item()


def query_dependent(conditional: Weighing = model.expected_weights, possible: int = 24) -> Finding:
    """Expected weights among K views, exactly, against those among all possible ones."""
    squared, few = _distances(possible), _distances(5)
    counts = (1, 2, 4, 8, 16, 32, 64)
    hardnesses = (0.5, 1.0, 2.0)
    apart = {t: torch.stack([_variation(conditional, squared, t, k) for k in counts]) for t in hardnesses}
    pulls = torch.stack([(conditional(squared, 1.0, k) * squared).sum() for k in counts])
    goal = (model.tilted_weights(squared, 1.0) * squared).sum()
    halved, share = apart[1.0][-1] / apart[1.0][-2], (pulls[-1] - pulls[0]) / (goal - pulls[0])
    checks = (
        equal("farthest weight of a single view from equal weights", _from_equal(conditional, squared), 0.0, 1e-12),
        equal("K = 3: farthest from the library's, all 125 draws of 5", _sampled(conditional, few), 0.0, 1e-12),
        at_most("largest ratio of distances from the conditional, 2 K views to K", _ratios(apart).max().item(), 0.9),
        equal("that ratio from 32 to 64 views, t+ = 1 (half: like 1 / K)", halved.item(), 0.5, 0.03),
        at_least("least growth of expected attraction, 2 K views against K", pulls.diff().min().item(), 0.0),
        at_least("share of the way to its attraction, 64 views", share.item(), 0.9),
    )
    return Finding(checks, _query_picture(conditional, squared, counts, apart), (_REMARK,))


def _query_picture(
    conditional: Weighing, squared: Tensor, counts: Sequence[int], apart: Mapping[float, Tensor]
) -> Picture:
    possible = len(squared)
    curves = {f"$K$ = {k}": possible * conditional(squared, 1.0, k) for k in (1, 2, 4, 16)}
    curves["true conditional"] = possible * model.tilted_weights(squared, 1.0)
    draw = partial(
        figures.draw_query,
        squared=squared.numpy(),
        weights={name: curve.numpy() for name, curve in curves.items()},
        counts=np.array(counts, dtype=np.float64),
        distance={f"$t_+$ = {t:g}": each.numpy() for t, each in apart.items()},
    )
    caption = (
        f"A query with {possible} possible positives; K of them are drawn and weighed among themselves (left: t+ = 1). "
        "In expectation their weights go from equal ones to those among all possible positives."
    )
    title = "More views bring attraction nearer to its true conditional"
    return Picture(draw, (10.5, 4.4), title, caption)


_REMARK = (
    "The paper's statement is qualitative. Here the true conditional is the weighing of all possible positives, and "
    "the gap is total variation of the expected weights from it; other readings are possible."
)


def _distances(count: int) -> Tensor:
    return torch.linspace(0.05, 3.0, count, dtype=torch.float64)


def _variation(conditional: Weighing, squared: Tensor, hardness: float, count: int) -> Tensor:
    """Total variation from the true conditional, in [0, 1]."""
    return (conditional(squared, hardness, count) - model.tilted_weights(squared, hardness)).abs().sum() / 2


def _from_equal(conditional: Weighing, squared: Tensor) -> float:
    return (conditional(squared, 2.0, 1) - 1 / len(squared)).abs().max().item()


def _ratios(apart: dict[float, Tensor]) -> Tensor:
    return torch.cat([each[1:] / each[:-1] for each in apart.values()])


def _sampled(conditional: Weighing, squared: Tensor, hardness: float = 1.0, count: int = 3) -> float:
    """Largest deviation of the expectation from the library's attraction plan, averaged over all draws."""
    angles = torch.arccos(1 - squared / 2)
    possible = torch.stack([angles.cos(), angles.sin()], 1)
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    draws = torch.tensor(list(product(range(len(squared)), repeat=count)))
    scores = Scores(query.expand(len(draws), -1), possible[draws], temperature=1 / hardness, cost=SquaredEuclidean())
    weights = couple(-scores).conditional()
    seen = torch.zeros_like(squared).index_add_(0, draws.flatten(), weights.flatten()) / len(draws)
    return (conditional(squared, hardness, count) - seen).abs().max().item()
