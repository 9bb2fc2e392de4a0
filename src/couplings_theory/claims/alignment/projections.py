"""A half-step is a projection, half-steps tighten the match, and when the gradient is (P - T) / eps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from couplings import Fixed, InfoNCE, Scores, couple

from ...alignment import (
    Triangle,
    balanced,
    convergence_rate,
    divergence,
    domain_plan,
    dual_gradient,
    gradient_residual,
    half_steps,
    pythagoras,
    row_projection,
)
from ...claim import Claim, Finding, Paper, Picture, Standing, at_least, at_most, equal
from ...figures.alignment import draw_pythagoras, draw_residuals, draw_tightening
from .settings import F64, POSITIVES, TEMPERATURE, UNIFORM, N, cosines, noisy_views, random, targets

Projection = Callable[[Tensor, Tensor], Tensor]
Path = Callable[..., Sequence[Tensor]]
Dual = Callable[[Tensor, Tensor, float], Tensor]


def pythagorean(project: Projection = row_projection) -> Finding:
    """Fifty targets, both directions, the library's row step and InfoNCE."""
    kernel = torch.exp(random(0, N, N)) / N**2
    wanted = targets(25)
    by_rows = [pythagoras(q, kernel, project(kernel, q.sum(1))) for q in wanted]
    by_columns = [pythagoras(q, kernel, project(kernel.T, q.sum(0)).T) for q in wanted]
    softmax = couple(Scores.given(TEMPERATURE * random(0, N, N), temperature=TEMPERATURE)).plan()
    views = noisy_views(0)
    step = project(torch.exp(cosines(views) / TEMPERATURE), UNIFORM)
    apart = float((softmax - project(kernel, UNIFORM)).abs().max())
    infonce = float(InfoNCE(TEMPERATURE)(*views)), float(divergence(POSITIVES, step))
    checks = (
        equal("largest gap of the identity, projection onto rows, 50 targets (nats)", _widest(by_rows), 0, 1e-9),
        equal("largest gap of the identity, projection onto columns (nats)", _widest(by_columns), 0, 1e-9),
        equal("row step of the library: largest distance of an entry from the projection", apart, 0, 1e-12),
        equal("InfoNCE against KL(T || row step) (nats)", *infonce, 1e-12),
        at_least(
            "least KL(Q || K) - KL(P || K): no target is nearer to K", min(t.whole - t.kernel_leg for t in by_rows), 0
        ),
        at_least(
            "least KL(P || K), so that there is something to add up (nats)", min(t.kernel_leg for t in by_rows), 0.1
        ),
    )
    other = pythagoras(wanted[1], kernel, _by_column_sums(kernel, UNIFORM))
    picture = Picture(
        partial(draw_pythagoras, projection=by_rows[1], other=other),
        (11, 4.8),
        "A softmax is one projection: divergences add up as squares do in a right triangle",
        "Left, a row of two entries: P is where the line of allowed rows touches a level curve around the kernel K. "
        "Right, a 16 x 16 kernel to scale; dividing rows by the sums of columns makes no right angle.",
    )
    return Finding(checks, picture)


def _widest(triangles: Sequence[Triangle]) -> float:
    return max(abs(triangle.gap) for triangle in triangles)


def _by_column_sums(kernel: Tensor, rows: Tensor) -> Tensor:
    """What one released implementation does: row i is divided by the sum of column i."""
    return kernel * (rows / kernel.sum(0))[:, None]


def tightening(path: Path = half_steps, target: Tensor = POSITIVES, count: int = 20) -> Finding:
    """A target that the marginals can meet, two that they cannot, and the remedy."""
    scores = cosines(noisy_views(0))
    plans, limit = path(scores, TEMPERATURE, count), balanced(scores, TEMPERATURE)
    match, excess = _divergences(target, plans), _divergences(limit, plans)
    falls = [before - after for before, after in pairwise(match)]
    moved = [float(divergence(after, before)) for before, after in pairwise(plans)]
    final = float(divergence(target, limit))
    heavy = domain_plan(torch.arange(N // 2) % 2, within=0.3, across=0.1)
    uneven, near = _uneven_domains()
    too_heavy = _divergences(heavy / N, plans)
    uniform = _divergences(uneven, path(near, TEMPERATURE, count))
    own = _divergences(uneven, path(near, TEMPERATURE, count, uneven.sum(1), uneven.sum(0)))
    checks = (
        at_most(f"largest rise of KL(T || P) in {count} half-steps, T the positives (nats)", _rise(match), 0, 1e-12),
        equal("largest difference of a fall and KL(next || plan) (nats)", _apart(falls, moved), 0, 1e-12),
        equal(
            "largest difference of KL(T || P) and KL(T || limit) + KL(limit || P)",
            _offset(match, excess, final),
            0,
            1e-9,
        ),
        at_least("fall in all (nats)", match[0] - match[-1], 0.1),
        equal(
            "row sums of a domain plan, 16 rows, 1 on positives, 0.3 within, 0.1 across",
            float(heavy.sum(1).mean()),
            3.6,
            1e-12,
        ),
        at_least("largest rise for that plan, more mass than the marginals (nats)", _rise(too_heavy), 0.1),
        at_least("largest rise for uneven domains with uniform columns (nats)", _rise(uniform), 1e-3),
        at_most("largest rise for uneven domains with their own columns (nats)", _rise(own), 0, 1e-12),
    )
    uneven_curves = {"uniform columns asked for": uniform, "the target's own columns": own}
    picture = Picture(
        partial(draw_tightening, chart=_chart(path), excess=excess, heavy=too_heavy, uneven=uneven_curves),
        (13.5, 5),
        "Half-steps tighten the match to every target that the marginals can meet",
        "Left, 2 x 2 plans of one kernel: half-steps go to and fro between the two marginals. Middle, what is left to "
        "gain, the same for each target. Right, targets with other marginals can lose.",
    )
    return Finding(checks, picture)


def _divergences(target: Tensor, plans: Sequence[Tensor]) -> list[float]:
    return [float(divergence(target, plan)) for plan in plans]


def _rise(values: Sequence[float]) -> float:
    return max(after - before for before, after in pairwise(values))


def _apart(some: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(some, others, strict=True))


def _offset(match: Sequence[float], excess: Sequence[float], final: float) -> float:
    return max(abs(m - final - e) for m, e in zip(match, excess, strict=True))


def _uneven_domains() -> tuple[Tensor, Tensor]:
    """The plan of two domains of six and two samples, rows scaled to 1 / N; scores that have nearly learnt it."""
    plan = domain_plan((torch.arange(N // 2) >= 6).long(), within=0.3, across=0.1)
    plan = plan / plan.sum(1, keepdim=True) / N
    return plan, TEMPERATURE * (torch.log(plan) + 0.1 * random(5, N, N))


def _chart(path: Path) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """The mass of row 1 and of column 1 of a 2 x 2 kernel (scaled to mass one) and its plans; what both should be."""
    rows, columns = torch.tensor([0.7, 0.3], dtype=F64), torch.tensor([0.35, 0.65], dtype=F64)
    scores = torch.tensor([[0.4, -1.2], [-0.4, 2.4]], dtype=F64)
    plans = [plan / plan.sum() for plan in path(scores, 1.0, 12, rows, columns)]
    points = [(float(plan[0].sum()), float(plan[:, 0].sum())) for plan in plans]
    return points, (float(rows[0]), float(columns[0]))


def dual_gradients(
    dual: Dual = dual_gradient, temperatures: Sequence[float] = (0.5, 0.2, 0.1), converged: int = 400
) -> Finding:
    """At the row step, on the way and at convergence, for three temperatures."""
    scores = cosines(noisy_views(7, d=3))
    target = _soft_positives(len(scores))
    sweeps = (*range(13), 15, 18, 22, 27, 33, 40, 50, 60, 75, 90, 105, 120)
    residual = {t: [gradient_residual(scores, target, t, k, dual) for k in sweeps] for t in temperatures}
    at_end = [gradient_residual(scores, target, t, converged, dual) for t in temperatures]
    limits = {t: balanced(scores, t) for t in temperatures}
    rates = {t: convergence_rate(limits[t]) for t in temperatures}
    excess = {t: [_excess(scores, target, t, k, limits[t]) for k in sweeps] for t in temperatures}
    of_gradient = max(abs(_slope(sweeps, residual[t]) - rates[t]) for t in temperatures)
    of_value = max(abs(_slope(sweeps, excess[t]) - rates[t] ** 2) for t in temperatures)
    checks = (
        equal("largest relative residual at the row step (no sweep)", max(r[0] for r in residual.values()), 0, 1e-8),
        equal(f"largest relative residual after {converged} sweeps", max(at_end), 0, 1e-8),
        at_least("least relative residual after 1 sweep", min(r[1] for r in residual.values()), 1e-3),
        at_least("least relative residual after 3 sweeps", min(r[3] for r in residual.values()), 1e-4),
        equal("the residual's factor a sweep: largest distance from the predicted one", of_gradient, 0, 0.02),
        equal("the value's factor a sweep: largest distance from its square", of_value, 0, 0.02),
    )
    picture = Picture(
        partial(draw_residuals, sweeps=sweeps, residual=residual, excess=excess, rates=rates),
        (12, 4.8),
        "(P − T)/ε is the gradient before the first sweep and after the last, not in between",
        "Left, distance of the exact gradient of T sweeps from (P - T) / eps. Right, what the value still loses, at "
        "the square of that rate. Dashed: the rate told by the balanced plan's second singular value.",
    )
    return Finding(checks, picture)


def _soft_positives(n: int) -> Tensor:
    """Nine tenths on the positive, the rest on all other rows: uniform marginals, mass one."""
    other = (1 - torch.eye(n, dtype=F64)) / (n - 1)
    return (0.9 * torch.eye(n, dtype=F64).roll(n // 2, 0) + 0.1 * other) / n


def _excess(scores: Tensor, target: Tensor, temperature: float, sweeps: int, limit: Tensor) -> float:
    """KL(T || P after some sweeps and a row step) over its least, which is KL(limit || P)."""
    given = Scores.given(scores, temperature=temperature)
    plan = couple(given, Fixed(target.sum(1)), Fixed(target.sum(0)), sweeps=sweeps, row_step=True).plan()
    return float(divergence(limit, plan))


def _slope(sweeps: Sequence[int], values: Sequence[float]) -> float:
    """The factor of one sweep, between the first and the last value within [1e-13, 1e-10]."""
    tail = [(k, v) for k, v in zip(sweeps, values, strict=True) if 1e-13 < v < 1e-10]
    if len(tail) < 2:
        return math.nan
    (first, high), (last, low) = tail[0], tail[-1]
    return math.exp(math.log(low / high) / (last - first))


CLAIMS = (
    Claim(
        "alignment/pythagoras",
        "A half-step is a Bregman projection",
        "For the row step P of a kernel K and every plan Q with P's row sums, KL(Q || K) = KL(Q || P) + KL(P || K), "
        "and the same for columns; InfoNCE is KL(T || P) for the plan T of the positives: one projection.",
        Paper.GCA,
        Standing.RESTATED,
        pythagorean,
    ),
    Claim(
        "alignment/tightening",
        "Half-steps tighten the match",
        "If T has the marginals that are imposed, KL(T || P) falls with each half-step, by KL(next || plan); what is "
        "left to gain is KL(limit || plan), whatever T is. A target with other marginals can get worse.",
        Paper.GCA,
        Standing.RESTATED,
        tightening,
    ),
    Claim(
        "alignment/dual-gradient",
        "When the gradient is (P - T) / eps",
        "The gradient of KL(T || P) in the scores is (P - T) / eps for the row step alone and at convergence, not "
        "after a few sweeps: each then shrinks the residual by the square of the second singular value of "
        "P_ij / sqrt(a_i b_j), P the balanced plan.",
        Paper.GCA,
        Standing.DERIVED,
        dual_gradients,
    ),
)
