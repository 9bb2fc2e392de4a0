"""Hard negatives by tilting (HCL) and by transport (HCL-OT): what they share and where they part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor

from couplings.costs import Cost, ExpSquaredEuclidean, SquaredEuclidean
from couplings.coupling import Coupling
from couplings.marginals import Fixed, Free
from couplings.masks import SameId
from couplings.rules import Entropic, Quadratic, Rule
from couplings.scores import Scores
from couplings.solve import couple
from couplings.theory.claim import Claim, Finding, Paper, Picture, Standing, at_least, at_most, equal
from couplings.theory.figures import hard_negatives as figures
from couplings.theory.hard_negatives import (
    best_assignment,
    clustered_views,
    hardness,
    row_gap,
    shares,
    similarities,
    tilted,
    transported,
    uniform,
)

Tilt = Callable[[Sequence[Tensor], float], Coupling]
Transport = Callable[..., Coupling]
Views = tuple[Tensor, Tensor]

REGS = (0.1, 0.3, 0.7, 1.0, 3.0)


def _views(seed: int = 0, samples: int = 24) -> Views:
    return clustered_views(samples, seed=seed)[:2]


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


# TA2: one formula with and without a column potential


def tilt_and_transport(
    tilt: Tilt = tilted, transport: Transport = transported, regs: Sequence[float] = REGS, views: Views | None = None
) -> Finding:
    """Rows and columns of both plans of 24 samples with 2 views over reg."""
    views = views or _views()
    tilts, transports = [tilt(views, reg) for reg in regs], [transport(views, reg) for reg in regs]
    same = max(
        _largest(plan.conditional() - _row_plan(views, reg).conditional())
        for plan, reg in zip(tilts, regs, strict=True)
    )
    form = max(_largest(b.conditional() - _with_columns(a, b.g)) for a, b in zip(tilts, transports, strict=True))
    gaps = [row_gap(a, b) for a, b in zip(tilts, transports, strict=True)]
    hubs = [float(shares(plan).max()) for plan in tilts]
    checks = (
        at_most(
            "HCL at beta = 2 tau / reg - the row plan of squared distances at reg, largest entry", same, 0.0, 1e-12
        ),
        at_most("HCL-OT's rows - HCL's times e^g, normalised, largest entry", form, 0.0, 1e-9),
        at_least(f"mean L1 gap of their rows at reg = {regs[0]:g}, in [0, 2]", gaps[0], 0.3),
        at_least("smallest fall of that gap from one reg to the next", min(a - b for a, b in pairwise(gaps)), 0.0),
        at_least(f"the gap at reg = {regs[-1]:g}, above zero", gaps[-1], 1e-3),
        at_least(f"HCL: share of the largest hub at reg = {regs[0]:g} (1 is fair)", hubs[0], 1.5),
        at_least(f"HCL: share of the largest hub at reg = {regs[-1]:g}", hubs[-1], 1.01),
        at_most(
            "HCL-OT: largest |share - 1| of a candidate", max(_largest(shares(p) - 1) for p in transports), 0.0, 1e-6
        ),
    )
    ranked = {reg: shares(plan).sort(descending=True).values.tolist() for reg, plan in zip(regs, tilts, strict=True)}
    picture = Picture(
        partial(figures.draw_hubs, ranked, shares(transports[0]).tolist(), dict(zip(regs, gaps, strict=True))),
        (11, 4.4),
        "Tilting makes hubs, transport forbids them",
        "Left: how much mass each candidate attracts, ranked. Under HCL a few are everybody's hard negative, the more "
        "so the smaller reg; under HCL-OT all have the same share. Right: how far their rows lie apart.",
    )
    return Finding(checks, picture)


def _row_plan(views: Views, reg: float) -> Coupling:
    """min <P, C> + reg KL(P, a x b) with rows fixed, columns free, pairs of a sample forbidden."""
    sample = torch.arange(len(views[0])).repeat(2)
    scores = Scores(torch.cat(views), temperature=reg, cost=SquaredEuclidean(), mask=SameId(sample, sample))
    return couple(scores, Fixed(), Free())


def _with_columns(plan: Coupling, g: Tensor) -> Tensor:
    weighed = plan.conditional() * torch.exp(g - g.max())
    return weighed / weighed.sum(1, keepdim=True)


# TA3: hardness


def harder_at_small_reg(
    transport: Transport = transported, tilt: Tilt = tilted, regs: Sequence[float] | None = None, seeds: int = 3
) -> Finding:
    """Expected cosine of the negatives over reg for 3 batches of 24 samples with 2 views."""
    transport = partial(transport, tol=1e-4)  # at small reg the last digits take thousands of sweeps
    regs = regs or tuple(float(10**e) for e in torch.linspace(-1, 1.7, 13).tolist())
    batches = [_views(seed, 12) for seed in range(seeds)]
    warm = [[hardness(transport(views, reg), views) for reg in regs] for views in batches]
    tilts = [[hardness(tilt(views, reg), views) for reg in regs] for views in batches]
    best, none = [best_assignment(views) for views in batches], [hardness(uniform(v), v) for v in batches]
    room = math.log(len(batches[0][0]) * 2 - 2) / 2
    short = [bound - value for bound, row in zip(best, warm, strict=True) for value in row]
    owed = [
        bound - value - reg * room
        for bound, row in zip(best, warm, strict=True)
        for value, reg in zip(row, regs, strict=True)
    ]
    cold = [hardness(transport(views, 1e6), views) for views in batches]
    frozen = [hardness(transport(views, 0.01, sweeps=4000, tol=1e-3), views) for views in batches[:1]]
    checks = (
        at_least("HCL-OT: smallest fall of the expected cosine from one reg to the next", _least_fall(warm), 0.0, 1e-9),
        at_least("HCL: smallest fall of the expected cosine from one reg to the next", _least_fall(tilts), 0.0, 1e-9),
        at_least("HCL-OT: best assignment - expected cosine, smallest", min(short), 0.0, 1e-6),
        at_most("HCL-OT: that difference - reg log(N - 2) / 2, largest", max(owed), 0.0, 1e-6),
        equal("HCL-OT at reg = 0.01 (mean cosine of the best assignment)", frozen[0], best[0], 1e-3),
        equal("HCL-OT at reg = 1e6 (mean cosine of all negatives)", cold[0], none[0], 1e-5),
        at_least("HCL-OT: expected cosine at the smallest reg - uniform, smallest", _lead(warm, none), 0.1),
    )
    picture = Picture(
        partial(figures.draw_hardness, regs, warm[0], tilts[0], best[0], none[0]),
        (9, 4.6),
        "Smaller reg, harder negatives: from uniform to the best assignment",
        "Expected cosine of an anchor and its negative. Transport is bounded by the best one-to-one choice, since "
        "nobody can be everybody's negative; tilting climbs to each anchor's nearest.",
    )
    return Finding(checks, picture)


def _least_fall(curves: Sequence[Sequence[float]]) -> float:
    return min(before - after for curve in curves for before, after in pairwise(curve))


def _lead(curves: Sequence[Sequence[float]], floors: Sequence[float]) -> float:
    return min(curve[0] - floor for curve, floor in zip(curves, floors, strict=True))


# TA4: kappa


def kappa(
    transport: Transport = transported,
    cost: Callable[[float], Cost] = ExpSquaredEuclidean,
    scale: Callable[[float], float] = math.exp,
    kappas: Sequence[float] = (0.5, 1.0, 2.0),
) -> Finding:
    """Plans of the exp cost at (kappa, reg) against (0, reg e^kappa)."""
    views, regs = _views(samples=8), (0.5, 1.0, 2.0, 4.0, 8.0)
    gaps = {
        (k, reg): _largest(transport(views, reg, cost(k)).plan() - transport(views, reg * scale(k), cost(0.0)).plan())
        for k, reg in [(1.0, 0.3), *product(kappas, regs[:3])]
    }
    still = _largest(transport(views, 0.5, cost(1.0)).plan() - transport(views, 0.5, cost(0.0)).plan())
    curves = {k: [hardness(transport(views, reg, cost(k)), views) for reg in regs] for k in (*kappas, 0.0)}
    checks = (
        at_most(
            "(kappa, reg) = (1, 0.3) and (0, 0.3 e), check card TA4: largest entry apart", gaps[1.0, 0.3], 0.0, 1e-9
        ),
        at_most("all of kappa in 0.5, 1, 2 and reg in 0.5, 1, 2: largest entry apart", max(gaps.values()), 0.0, 1e-9),
        at_least("(1, 0.5) and (0, 0.5), reg not rescaled: largest entry apart", still, 1e-3),
    )
    picture = Picture(
        partial(figures.draw_kappa, regs, curves),
        (10, 4.2),
        "kappa is a scale of reg, not a parameter",
        "Expected cosine of the negatives under the cost exp(|z - z'|² - kappa). Left: four values of kappa over reg. "
        "Right: over reg e^kappa they are one curve.",
    )
    return Finding(checks, picture)


# TA5: symmetry


def symmetry(transport: Transport = transported, tilt: Tilt = tilted, reg: float = 0.3) -> Finding:
    """T - T' of converged plans, of plans after a few sweeps, and of HCL."""
    views, sweeps = _views(samples=8), (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
    kinds: dict[str, tuple[Cost, Rule]] = {
        "squared distance": (SquaredEuclidean(), Entropic()),
        "exp cost": (ExpSquaredEuclidean(1.0), Entropic()),
        "squared distance, quadratic": (SquaredEuclidean(), Quadratic()),
    }
    plans = {name: transport(views, reg, cost, rule=rule) for name, (cost, rule) in kinds.items()}
    tracks = {
        name: [_asymmetry(transport(views, reg, cost, rule=rule, sweeps=count, tol=2.0)) for count in sweeps]
        for name, (cost, rule) in kinds.items()
    }
    first = plans["squared distance"]
    apart = first.f - first.g
    checks = (
        *[at_most(f"{name}: max |T - T'|, check card TA5", _asymmetry(p), 0.0, 1e-9) for name, p in plans.items()],
        at_most("squared distance: how far f - g is from a constant", float(apart.max() - apart.min()), 0.0, 1e-6),
        at_least("squared distance, after 2 sweeps: max |T - T'|, not yet", tracks["squared distance"][1], 1e-6),
        at_least("HCL at the same reg: max |P - P'|, never", _asymmetry(tilt(views, reg)), 1e-4),
    )
    picture = Picture(
        partial(figures.draw_symmetry, sweeps, tracks, first.plan().numpy(), tilt(views, reg).plan().numpy()),
        (11.5, 4.2),
        "Symmetric scores and equal marginals make a symmetric plan",
        "i is j's hard negative as much as j is i's: of the converged transport plan, not after a few sweeps, and not "
        "of HCL's tilted rows.",
    )
    return Finding(checks, picture)


def _asymmetry(plan: Coupling) -> float:
    return _largest(plan.plan() - plan.plan().T)


# TA6: the whole distribution


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
        at_most("HCL-OT: by how much its tail lies below uniform's (measured)", max(o.transport for o in orders), 0.02),
        at_least("HCL: mean cosine - HCL-OT's at the same reg, smallest (measured)", min(o.above for o in orders), 0.0),
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
    found = {name: similarities(plan, views) for name, plan in plans.items()}
    picture = Picture(
        partial(figures.draw_similarities, {name: (s.values.numpy(), s.mass.numpy()) for name, s in found.items()}),
        (11, 4.2),
        f"Both plans take harder negatives than chance (reg = {regs[1]:g})",
        "Cosine of an anchor and its negative under three plans of the same batch. HCL's distribution lies to the "
        "right of the uniform one at every threshold; transport's is held back by the columns.",
    )
    return Finding(tuple(checks), picture, (remark,))


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


def _claim(name: str, standing: Standing, examine: Callable[..., Finding], title: str, statement: str) -> Claim:
    return Claim(f"hard-negatives/{name}", title, statement, Paper.HCL_OT, standing, examine)


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "tilt",
        Standing.DERIVED,
        tilt_and_transport,
        "HCL is the one-sided entropic coupling",
        "With rows constrained alone the entropic plan of squared distances is HCL's at beta = 2 tau / reg. With "
        "columns too it gains a column potential: no candidate attracts more than its share, and rows differ, less at "
        "larger reg.",
    ),
    _claim(
        "hardness",
        Standing.DERIVED,
        harder_at_small_reg,
        "Smaller reg, harder negatives",
        "The expected cosine of the negatives does not rise with reg. HCL-OT goes from the best assignment (reg -> 0; "
        "it is never off by more than reg log(N - 2) / 2) to the uniform mean (reg -> infinity).",
    ),
    _claim(
        "kappa",
        Standing.DERIVED,
        kappa,
        "kappa of the exp cost is a scale of reg",
        "The cost exp(|z - z'|^2 - kappa) at reg and exp(|z - z'|^2) at reg e^kappa have the same plan.",
    ),
    _claim(
        "symmetry",
        Standing.DERIVED,
        symmetry,
        "The transport plan is symmetric",
        "For a symmetric cost and equal marginals the plan is unique, so it equals its transpose, for every rule; "
        "plans after a few sweeps and HCL's do not.",
    ),
    _claim(
        "harder",
        Standing.RESTATED,
        harder,
        "Both plans take harder negatives than chance",
        "The cosine of an anchor and its negative is stochastically larger under HCL than under the uniform plan, and "
        "the more so the smaller reg. Under HCL-OT its mean is larger; that its tail nearly is too is measured.",
    ),
)
