"""Against the worst coupling: the bound, who attains it, where training ends, and more negatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from couplings.pieces.costs import Cost
from couplings_theory.claim import Check, Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import minmax as figures
from couplings_theory.minmax import Adversary, Hinge, Logistic, Positives, Psi, WorstCoupling, descend, worst_coupling

from .maps import (
    F64,
    INSTANCES,
    RING,
    VIEWS,
    certified,
    floor_of,
    furthest,
    independent,
    largest_distance,
    misalignments,
    most,
    positive_distance,
    random_map,
    simplex,
)

Solve = Callable[..., WorstCoupling]

PSIS: Mapping[str, Psi] = {
    "logistic, temperature 0.5": Logistic(),
    "logistic, temperature 0.5, Q = 6": Logistic(weight=6.0),
    "hinge, margin 0.5": Hinge(),
}


def lower_bound(psis: Mapping[str, Psi] = PSIS, solve: Solve = worst_coupling, maps: int = 40) -> Finding:
    """Worst cases of maps from nearly aligned to random, two laws of positives, against their misalignment."""
    checks, clouds, solved = [], {}, list[WorstCoupling]()
    for name, psi in psis.items():
        points, programs = _cloud(psi, solve, maps)
        clouds[name], solved = figures.Cloud(psi, floor_of(psi), points), solved + programs
        checks += _bound_checks(name, clouds[name])
    mild = min(point.independent - cloud.floor for cloud in clouds.values() for point in cloud.points)
    checks.append(at_most("smallest E psi with independent negatives - psi(0)", mild, -0.1))
    picture = Picture(
        partial(figures.draw_bound, clouds),
        (11, 4.6),
        "No map beats psi(0) against the worst coupling",
        "Each mark is a map of 8 points. With independent negatives many fall below psi(0). Under the worst coupling "
        "none does: each pays psi of its misalignment on average, and the negatives have left the loss.",
    )
    return Finding((*checks, *certified(solved)), picture)


def _bound_checks(name: str, cloud: figures.Cloud) -> list[Check]:
    above = min(point.worst for point in cloud.points) - cloud.floor
    off = furthest([point.worst - point.identity for point in cloud.points], 0.0)
    jensen = [float(cloud.psi(torch.tensor([point.misalignment], dtype=F64))) for point in cloud.points]
    convex = min(point.worst - bound for point, bound in zip(cloud.points, jensen, strict=True))
    return [
        at_least(f"{name}: smallest worst case - psi(0)", above, 0.0, 1e-9),
        equal(f"{name}: worst case - E psi(1 - f(x).f(x+)), the furthest from 0", off, 0.0, 1e-9),
        at_least(f"{name}: smallest worst case - psi(E[1 - f(x).f(x+)])", convex, 0.0, 1e-9),
    ]


def _cloud(psi: Psi, solve: Solve, maps: int) -> tuple[list[figures.Point], list[WorstCoupling]]:
    """Maps of both laws with what they cost, and their linear programs."""
    points, solved = [], []
    for law, positives in (("4 instances × 2 views", VIEWS), ("ring of 8", RING)):
        for seed in range(maps):
            noise = 10 ** (-2 + 2.5 * seed / max(1, maps - 1))
            noisy = random_map(4, 3, seed)[INSTANCES] + noise * random_map(8, 3, 100 + seed)
            z = torch.nn.functional.normalize(noisy, dim=1)
            apart, worst = misalignments(z, positives), solve(z, positives, psi)
            identity, mean = float(positives.weights @ psi(apart[:, None])), float(positives.weights @ apart)
            points.append(figures.Point(law, mean, worst.value, identity, independent(z, positives, psi)))
            solved.append(worst)
    return points, solved


def constant_wins(psi: Psi | None = None, cost: Cost | None = None, solve: Solve = worst_coupling) -> Finding:
    """Worst couplings of a constant, an aligned and a random map of 8 points, 4 instances with 2 views."""
    psi, log2 = psi or Logistic(), math.log(2)
    maps = {"random": random_map(8, 3, 0), "aligned": simplex(4)[INSTANCES], "constant": torch.ones(8, 3, dtype=F64)}
    worst = {name: solve(z, VIEWS, psi, cost=cost) for name, z in maps.items()}
    mildest = -solve(maps["constant"], VIEWS, lambda v: -psi(v), cost=cost).value
    aligned = [solve(random_map(4, 3, seed)[INSTANCES], VIEWS, psi, cost=cost).value for seed in range(20)]
    checks = (
        equal("constant map: worst coupling (log 2)", worst["constant"].value, log2, 1e-9),
        equal("constant map: mildest coupling (log 2)", mildest, log2, 1e-9),
        equal("aligned map, instances on a simplex: worst coupling (log 2)", worst["aligned"].value, log2, 1e-9),
        equal("20 random aligned maps: the one furthest from log 2", furthest(aligned, log2), log2, 1e-9),
        at_least("random map: worst coupling (above log 2)", worst["random"].value, log2 + 0.1),
        at_most("aligned map: independent negatives, below log 2", independent(maps["aligned"], VIEWS, psi), 0.3),
        *certified(list(worst.values())),
    )
    couplings = {
        name: figures.Worst(found.gains.numpy(), VIEWS.anchored(found.plan).numpy(), found.value)
        for name, found in worst.items()
    }
    picture = Picture(
        partial(figures.draw_worst, couplings),
        (11, 4.2),
        "The worst coupling cannot tell an aligned map from the collapsed one",
        "Colour: psi of each anchor and negative; dots: the worst coupling. Against an aligned map it pairs instances "
        "with themselves, which costs log 2: what the constant map pays under every coupling.",
    )
    return Finding(checks, picture)


def descent(
    psi: Psi | None = None,
    adversary: Adversary | None = None,
    cost: Cost | None = None,
    steps: int = 120,
    seeds: Sequence[int] = (0, 1, 2),
) -> Finding:
    """Descent on the worst case from random maps, for positives that connect all points and for ones that do not."""
    psi = psi or Logistic()
    laws = {"4 instances × 2 views": VIEWS, "ring of 8": RING}
    views, ring = laws
    ends = {
        name: [descend(law, psi, adversary, steps=steps, rate=0.3, seed=seed, cost=cost) for seed in seeds]
        for name, law in laws.items()
    }
    apart = min(largest_distance(end) for end in ends[views])
    checks = [
        equal("ring: groups of points that positives connect", int(RING.components.max()) + 1, 1, 0),
        equal("views: groups of points that positives connect", int(VIEWS.components.max()) + 1, 4, 0),
        at_most("ring: largest distance of any two points at the end", most(largest_distance, ends[ring]), 1e-3),
        at_least("views: largest distance of two points at the end, smallest of all starts", apart, 0.5),
    ]
    for name, law in laws.items():
        values = [float(end.values[-1]) for end in ends[name]]
        floor, gap = floor_of(psi), most(partial(positive_distance, law), ends[name])
        checks.append(equal(f"{name}: worst case at the end (psi(0))", furthest(values, floor), floor, 1e-6))
        checks.append(at_most(f"{name}: largest |f(x) - f(x+)| at the end", gap, 1e-3))
    tracks = {name: [end.values.numpy() for end in found] for name, found in ends.items()}
    cosines = {name: (found[0].embeddings @ found[0].embeddings.T).numpy() for name, found in ends.items()}
    picture = Picture(
        partial(figures.draw_descent, tracks, cosines, floor_of(psi)),
        (11, 4.2),
        "Training against the worst coupling aligns or collapses",
        "Left: what is left above psi(0), three starts each. Right: cosines at the end of the first. Positives that "
        "connect all points leave the constant map alone; where they do not, any aligned map is as good.",
    )
    return Finding(tuple(checks), picture)


def more_negatives(
    psis: Mapping[str, Psi] | None = None, counts: Sequence[int] = (1, 2, 3), solve: Solve = worst_coupling
) -> Finding:
    """The game with m negatives that may depend on each other, 3 instances with 2 views, exact programs of 6^(m+1)."""
    groups = torch.arange(3).repeat_interleave(2)
    law, psis = Positives.of_groups(groups), psis or {"logistic": Logistic(), "hinge": Hinge()}
    maps = {"random": random_map(6, 3, 1), "aligned": simplex(3)[groups], "constant": torch.ones(6, 3, dtype=F64)}
    keys = [(psi, name, m) for psi in psis for name in maps for m in counts]
    found = {key: solve(maps[key[1]], law, psis[key[0]], negatives=key[2]) for key in keys}
    mild = {key: independent(maps[key[1]], law, psis[key[0]], key[2]) for key in keys}
    checks = []
    for psi_name, psi in psis.items():
        for name, z in maps.items():
            expected = float(law.weights @ psi(misalignments(torch.nn.functional.normalize(z, dim=1), law)[:, None]))
            value = furthest([found[psi_name, name, m].value for m in counts], expected)
            what = f"{psi_name}, {name} map: worst case of m = {min(counts)} to {max(counts)}, the furthest"
            checks.append(equal(f"{what} (E psi(1 - f(x).f(x+)))", value, expected, 1e-9))
        value, most_of_them = mild[psi_name, "aligned", max(counts)], max(counts)
        what = f"{psi_name}, aligned map: m = {most_of_them} independent negatives, below psi(0)"
        checks.append(at_most(what, value, floor_of(psi, most_of_them) - 0.1))
    picture = Picture(
        partial(figures.draw_more, {key: w.value for key, w in found.items()}, mild),
        (10, 4.6),
        "More negatives do not lift the degeneracy",
        "Solid: worst case over m negatives that may depend on each other; it does not change with m. Faint: "
        "independent negatives, which do tell the aligned map from the constant one.",
    )
    return Finding((*checks, *certified(list(found.values()))), picture)
