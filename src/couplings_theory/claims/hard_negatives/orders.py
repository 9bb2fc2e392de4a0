"""Orders: how similar an anchor and its negatives are, over reg and between plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from couplings.plans.coupling import Coupling
from couplings_theory.claim import Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import hard_negatives as figures
from couplings_theory.hard_negatives import (
    best_assignment,
    clustered_views,
    hardness,
    nearest_negatives,
    similarities,
    tilted,
    transported,
    uniform,
)

from .batches import Tilt, Transport, Views, batch

# hardness


def harder_at_small_reg(
    transport: Transport = transported, tilt: Tilt = tilted, regs: Sequence[float] | None = None, seeds: int = 3
) -> Finding:
    """Expected cosine of the negatives over reg for 3 batches of 24 samples with 2 views."""
    transport = partial(transport, tol=1e-4)  # at small reg the last digits take thousands of sweeps
    regs = regs or tuple(float(10**e) for e in torch.linspace(-1, 1.7, 10).tolist())
    batches = [batch(seed, 12) for seed in range(seeds)]
    warm = [[hardness(transport(views, reg), views) for reg in regs] for views in batches]
    tilts = [[hardness(tilt(views, reg), views) for reg in regs] for views in batches]
    best, none = [best_assignment(views) for views in batches], [hardness(uniform(v), v) for v in batches]
    nearest = [nearest_negatives(views) for views in batches]
    far = min(bound - value for bound, row in zip(nearest, tilts, strict=True) for value in row)
    room = math.log(len(batches[0][0]) * 2 - 2) / 2
    short = [bound - value for bound, row in zip(best, warm, strict=True) for value in row]
    owed = [
        bound - value - reg * room
        for bound, row in zip(best, warm, strict=True)
        for value, reg in zip(row, regs, strict=True)
    ]
    cold = [hardness(transport(views, 1e6), views) for views in batches]
    frozen = [hardness(transport(views, 0.01, sweeps=2000, tol=1e-3), views) for views in batches[:1]]
    checks = (
        at_least("HCL-OT: smallest fall of the expected cosine from one reg to the next", _least_fall(warm), 0.0, 1e-9),
        at_least("HCL: smallest fall of the expected cosine from one reg to the next", _least_fall(tilts), 0.0, 1e-9),
        at_least("HCL-OT: best assignment - expected cosine, smallest", min(short), 0.0, 1e-6),
        at_least("HCL: each anchor's nearest negative - expected cosine, smallest", far, 0.0, 1e-9),
        at_most("HCL-OT: that difference - reg log(N - 2) / 2, largest", max(owed), 0.0, 1e-6),
        equal("HCL-OT at reg = 0.01 (mean cosine of the best assignment)", frozen[0], best[0], 1e-3),
        equal("HCL-OT at reg = 1e6 (mean cosine of all negatives)", cold[0], none[0], 1e-5),
        at_least("HCL-OT: expected cosine at the smallest reg - uniform, smallest", _lead(warm, none), 0.1),
    )
    picture = Picture(
        partial(figures.draw_hardness, regs, warm[0], tilts[0], (best[0], nearest[0], none[0])),
        (9, 4.6),
        "Smaller reg, harder negatives: up to a bound of each plan's own",
        "Expected cosine of an anchor and its negative. HCL-OT is bounded by the best one-to-one choice, since nobody "
        "can be everybody's negative. HCL holds rows alone: it may pass that line, and climbs to each anchor's "
        "nearest.",
    )
    return Finding(checks, picture)


def _least_fall(curves: Sequence[Sequence[float]]) -> float:
    return min(before - after for curve in curves for before, after in pairwise(curve))


def _lead(curves: Sequence[Sequence[float]], floors: Sequence[float]) -> float:
    return min(curve[0] - floor for curve, floor in zip(curves, floors, strict=True))


# the whole distribution


def harder(
    transport: Transport = transported, tilt: Tilt = tilted, regs: Sequence[float] = (1.0, 0.5, 0.25), seeds: int = 3
) -> Finding:
    """Distributions of the cosine of anchor and negative for 3 batches of 24 samples in 4 clusters."""
    batches = [clustered_views(24, seed=seed) for seed in range(seeds)]
    orders = [_orders(batch[:2], transport, tilt, regs) for batch in batches]
    checks = [
        at_most("HCL: by how much its tail lies below uniform's", max(o.tilt for o in orders), 0.0, 1e-12),
        at_most("HCL: ... below that of HCL at the next larger reg", max(o.chain for o in orders), 0.0, 1e-12),
        at_least("HCL-OT: mean cosine - uniform's, smallest", min(o.lead for o in orders), 0.05),
        at_most(
            "HCL-OT: by how much its tail lies below uniform's (measured)", max(o.transport for o in orders), 0.0, 1e-9
        ),
        at_least("HCL: mean cosine - HCL-OT's at the same reg, smallest (measured)", min(o.above for o in orders), 0.0),
    ]
    tail, mean = _exceptions(transport, tilt)
    checks += [
        at_least("6 samples on a circle, reg = 0.3: by how much HCL-OT's tail lies below uniform's", tail, 0.005),
        at_least("another 6, reg = 1: mean cosine of HCL-OT - HCL's", mean, 0.005),
    ]
    views, cluster = batches[0][:2], batches[0][2]
    plans = {"uniform": uniform(views), "HCL": tilt(views, regs[1]), "HCL-OT": transport(views, regs[1])}
    false = {name: _same_cluster(plan, cluster) for name, plan in plans.items()}
    checks.append(
        at_least("mass of HCL-OT on the anchor's cluster - uniform's", false["HCL-OT"] - false["uniform"], 0.1)
    )
    shares_of_cluster = ", ".join(f"{name} {share:.2f}" for name, share in false.items())
    remark = (
        "Harder is not better by itself: these negatives are more often of the anchor's own cluster, "
        f"{shares_of_cluster} of the mass at reg = {regs[1]:g}."
    )
    exception = (
        "With few samples transport may have to give up some of its nearest pairs: then its tail falls below the "
        "uniform one's at high cosines, and its mean may exceed HCL's. Two checks are such batches."
    )
    found = {name: similarities(plan, views) for name, plan in plans.items()}
    picture = Picture(
        partial(figures.draw_similarities, {name: (s.values.numpy(), s.mass.numpy()) for name, s in found.items()}),
        (11, 4.2),
        f"Both plans take harder negatives than chance (reg = {regs[1]:g})",
        "Cosine of an anchor and its negative under three plans of the same batch. HCL's distribution lies to the "
        "right of the uniform one at every threshold; transport's is held back by the columns.",
    )
    return Finding(tuple(checks), picture, (remark, exception))


def _exceptions(transport: Transport, tilt: Tilt) -> tuple[float, float]:
    """Batches where HCL-OT is not stochastically above uniform, and where its mean is above HCL's."""
    views, others = (clustered_views(6, 6, 2, seed=seed)[:2] for seed in (0, 35))
    tail = similarities(transport(views, 0.3), views).shortfall(similarities(uniform(views), views))
    return tail, hardness(transport(others, 1.0), others) - hardness(tilt(others, 1.0), others)


@dataclass(frozen=True)
class _Orders:
    """How the distributions of one batch compare: the worst over reg.

    Attributes:
        tilt: shortfall of HCL's tail behind uniform's.
        chain: ... behind that of HCL at the next larger reg.
        transport: shortfall of HCL-OT's tail behind uniform's.
        lead: mean cosine of HCL-OT less uniform's.
        above: mean cosine of HCL less HCL-OT's.
    """

    tilt: float
    chain: float
    transport: float
    lead: float
    above: float


def _orders(views: Views, transport: Transport, tilt: Tilt, regs: Sequence[float]) -> _Orders:
    even = similarities(uniform(views), views)
    tilts = [similarities(tilt(views, reg), views) for reg in regs]
    moved = [similarities(transport(views, reg), views) for reg in regs]
    return _Orders(
        tilt=max(found.shortfall(even) for found in tilts),
        chain=max(after.shortfall(before) for before, after in pairwise(tilts)),
        transport=max(found.shortfall(even) for found in moved),
        lead=min(found.mean for found in moved) - even.mean,
        above=min(a.mean - b.mean for a, b in zip(tilts, moved, strict=True)),
    )


def _same_cluster(plan: Coupling, cluster: Tensor) -> float:
    both = cluster.repeat(2)
    return float(plan.plan()[both[:, None] == both].sum())
