"""Identities: HCL as a one-sided plan, kappa as a scale, plans that equal their transpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor

from couplings.pieces.costs import Cost, ExpSquaredEuclidean, SquaredEuclidean
from couplings.pieces.marginals import Fixed, Free
from couplings.pieces.masks import SameId
from couplings.pieces.rules import Entropic, Quadratic, Rule
from couplings.plans.coupling import Coupling
from couplings.plans.scores import Scores
from couplings.plans.solve import couple
from couplings_theory.claim import Finding, Picture, at_least, at_most
from couplings_theory.figures import hard_negatives as figures
from couplings_theory.hard_negatives import hardness, row_gap, shares, tilted, transported

from .batches import Tilt, Transport, Views, batch

REGS = (0.1, 0.3, 0.7, 1.0, 3.0)


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


# one formula with and without a column potential


def tilt_and_transport(
    tilt: Tilt = tilted, transport: Transport = transported, regs: Sequence[float] = REGS, views: Views | None = None
) -> Finding:
    """Rows and columns of both plans of 24 samples with 2 views over reg."""
    views = views or batch()
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


# kappa


def kappa(
    transport: Transport = transported,
    cost: Callable[[float], Cost] = ExpSquaredEuclidean,
    scale: Callable[[float], float] = math.exp,
    kappas: Sequence[float] = (0.5, 1.0, 2.0),
) -> Finding:
    """Plans of the exp cost at (kappa, reg) against (0, reg e^kappa)."""
    views, regs = batch(samples=8), (1.0, 2.0, 4.0, 8.0, 16.0)
    gaps = {
        (k, reg): _largest(transport(views, reg, cost(k)).plan() - transport(views, reg * scale(k), cost(0.0)).plan())
        for k, reg in [(1.0, 0.3), *product(kappas, regs[:3])]
    }
    still = _largest(transport(views, 1.0, cost(1.0)).plan() - transport(views, 1.0, cost(0.0)).plan())
    curves = {k: [hardness(transport(views, reg, cost(k)), views) for reg in regs] for k in (*kappas, 0.0)}
    checks = (
        at_most("(kappa, reg) = (1, 0.3) and (0, 0.3 e): largest entry apart", gaps[1.0, 0.3], 0.0, 1e-9),
        at_most("all of kappa in 0.5, 1, 2 and reg in 1, 2, 4: largest entry apart", max(gaps.values()), 0.0, 1e-9),
        at_least("(1, 1) and (0, 1), reg not rescaled: largest entry apart", still, 1e-3),
    )
    picture = Picture(
        partial(figures.draw_kappa, regs, curves),
        (10, 4.2),
        "kappa is a scale of reg, not a parameter",
        "Expected cosine of the negatives under the cost exp(|z - z'|² - kappa). Left: four values of kappa over reg. "
        "Right: over reg e^kappa they are one curve.",
    )
    return Finding(checks, picture)


# symmetry


def symmetry(transport: Transport = transported, tilt: Tilt = tilted, reg: float = 0.3) -> Finding:
    """T - T' of converged plans, of plans after a few sweeps, and of HCL."""
    views, sweeps = batch(samples=8), (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
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
        *[at_most(f"{name}: max |T - T'|", _asymmetry(p), 0.0, 1e-9) for name, p in plans.items()],
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
