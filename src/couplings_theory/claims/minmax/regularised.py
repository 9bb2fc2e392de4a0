"""Against regularised couplings: the curve over reg, and where training ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch

from couplings.pieces.rules import Entropic, Quadratic, Rule
from couplings_theory.claim import Check, Finding, Picture, at_least, at_most, equal
from couplings_theory.figures import minmax as figures
from couplings_theory.minmax import (
    Adversary,
    Logistic,
    Positives,
    Psi,
    RegularisedCoupling,
    descend,
    regularised_coupling,
    regularised_plan,
    worst_coupling,
)

from .maps import F64, INSTANCES, RING, VIEWS, floor_of, furthest, independent, largest_distance, random_map, simplex

Regularise = Callable[..., RegularisedCoupling]
Curves = Mapping[tuple[str, str], Sequence[RegularisedCoupling]]
"""By rule and map, over reg."""

REGS = tuple(float(10**e) for e in torch.linspace(-1, 1.3, 16, dtype=F64).tolist())
RULES: Mapping[str, Rule] = {"entropic": Entropic(), "quadratic": Quadratic()}
GOOD = "aligned map (simplex)"
MAPS = {"random map": random_map(8, 3, 0), GOOD: simplex(4)[INSTANCES], "constant map": torch.ones(8, 3, dtype=F64)}


def regularised(
    regs: Sequence[float] = REGS, solve: Regularise = regularised_coupling, psi: Psi | None = None
) -> Finding:
    """E psi under the regularised coupling over reg: constant, aligned and random maps of 4 instances with 2 views."""
    psi = psi or Logistic()
    curves = {
        (rule_name, name): [solve(z, VIEWS, psi, reg=reg, rule=rule, tol=1e-6) for reg in regs]
        for rule_name, rule in RULES.items()
        for name, z in MAPS.items()
    }
    threshold = independent(MAPS[GOOD], VIEWS, psi) - _levels(psi)[1]
    limits = {name: worst_coupling(z, VIEWS, psi).value for name, z in MAPS.items()}
    checks = [check for rule in RULES for check in _curve_checks(rule, curves, regs, psi)]
    checks += _tie_checks(solve, threshold, psi) + _limit_checks(curves, regs[0], limits["random map"])
    gap = max(abs(found.gap) for row in curves.values() for found in row)
    checks.append(at_most("largest gap between dual and primal value of a regularised problem", gap, 0.0, 1e-6))
    lines = {key: [found.expected for found in row] for key, row in curves.items()}
    picture = Picture(
        partial(figures.draw_regularised, regs, lines, limits, {"quadratic": threshold}),
        (11, 4.8),
        "At a price for leaving independence a good map wins again",
        "E psi under the regularised coupling. Entropic: the aligned map is below the constant one at every reg > 0. "
        f"Quadratic: they tie exactly up to reg = {threshold:.3f}. The gap opens with reg.",
    )
    remark = (
        f"A small quadratic price does not mend the game: up to reg = {threshold:.4f} the coupling is that of the "
        "linear program, and aligned and constant maps tie."
    )
    return Finding(tuple(checks), picture, (remark,))


def _levels(psi: Psi, count: int = 4) -> tuple[float, float]:
    """psi within an instance and between `count` instances on a simplex."""
    return floor_of(psi), float(psi(torch.tensor([-count / (count - 1)], dtype=F64)))


def _entropic_simplex(reg: float, psi: Psi, count: int = 4) -> float:
    """E psi for instances on a simplex: a softmax of two levels."""
    near, far = _levels(psi, count)
    share = 1 / (1 + (count - 1) * math.exp((far - near) / reg))
    return share * near + (1 - share) * far


def _quadratic_simplex(reg: float, psi: Psi, count: int = 4) -> float:
    """E psi for instances on a simplex: mean + variance / reg, until all mass is within instances."""
    near, far = _levels(psi, count)
    mean = (near + (count - 1) * far) / count
    return min(near, mean + (near - far) ** 2 * (count - 1) / count**2 / reg)


_SIMPLEX = {"entropic": _entropic_simplex, "quadratic": _quadratic_simplex}


def _curve_checks(rule: str, curves: Curves, regs: Sequence[float], psi: Psi) -> list[Check]:
    floor = floor_of(psi)
    constant = [found.expected for found in curves[rule, "constant map"]]
    good = [found.expected for found in curves[rule, GOOD]]
    miss = max(abs(value - _SIMPLEX[rule](reg, psi)) for reg, value in zip(regs, good, strict=True))
    growth = min(before - after for before, after in pairwise(good))
    cold = regularised_coupling(MAPS[GOOD], VIEWS, psi, reg=1e6, rule=RULES[rule]).expected
    return [
        equal(f"{rule}: constant map, the E psi furthest from psi(0)", furthest(constant, floor), floor, 1e-9),
        at_most(f"{rule}: aligned map, largest distance of E psi from its closed form", miss, 0.0, 1e-9),
        at_least(f"{rule}: smallest growth of the gap from one reg to the next", growth, 0.0, 1e-9),
        at_least(f"{rule}: gap between constant and aligned map at reg = {regs[-1]:.3g}", floor - good[-1], 0.4),
        equal(f"{rule}: aligned map, reg = 1e6 (independent)", cold, independent(MAPS[GOOD], VIEWS, psi), 1e-5),
    ]


def _tie_checks(solve: Regularise, threshold: float, psi: Psi) -> list[Check]:
    """At small prices the entropic gap is positive; the quadratic one is zero below its threshold, not above."""

    def expected(reg: float, rule: Rule) -> float:
        return solve(MAPS[GOOD], VIEWS, psi, reg=reg, rule=rule).expected

    floor, below, above = floor_of(psi), 0.99 * threshold, 1.01 * threshold
    return [
        at_least("entropic: gap at reg = 0.05, above zero", floor - expected(0.05, Entropic()), 1e-6),
        equal(f"quadratic: aligned map, reg = {below:.4f} (psi(0))", expected(below, Quadratic()), floor, 1e-9),
        at_least(f"quadratic: gap at reg = {above:.4f}, above zero", floor - expected(above, Quadratic()), 1e-3),
    ]


def _limit_checks(curves: Curves, reg: float, worst: float) -> list[Check]:
    """E psi lies below the linear program's value, by at most reg times the divergence of a permutation of 8 points."""
    checks = []
    for rule, divergence in (("entropic", math.log(8)), ("quadratic", 3.5)):
        miss, what = worst - curves[rule, "random map"][0].expected, f"{rule}, reg = {reg:.3g}: random map"
        checks.append(at_least(f"{what}, worst case - E psi", miss, 0.0, 1e-6))
        checks.append(at_most(f"{what}, worst case - E psi, at most reg R(permutation)", miss, reg * divergence))
    return checks


def regularised_descent(
    reg: float = 0.5,
    rules: Mapping[str, Rule] = RULES,
    psi: Psi | None = None,
    steps: int = 70,
    seeds: Sequence[int] = (0, 1),
) -> Finding:
    """Descent in the plane against worst and regularised couplings: 3 instances with 2 views, and a ring of 8."""
    psi, groups = psi or Logistic(), torch.arange(3).repeat_interleave(2)
    laws = {"3 instances × 2 views": Positives.of_groups(groups), "ring of 8": RING}
    views, ring = laws
    players: dict[str, Adversary | None] = {"worst case": None}
    players |= {name: _player(reg, rule) for name, rule in rules.items()}
    ends = {
        (law, name): [descend(laws[law], psi, player, dim=2, steps=steps, rate=1.0, seed=seed) for seed in seeds]
        for law in laws
        for name, player in players.items()
    }
    checks, floor = [], floor_of(psi)
    for name, rule in rules.items():
        triangle = regularised_coupling(simplex(3)[groups], laws[views], psi, reg=reg, rule=rule).expected
        values = [float(end.values[-1]) for end in ends[views, name]]
        spread = min(largest_distance(end) for end in ends[ring, name])
        last = max(float(end.values[-1]) for end in ends[ring, name])
        checks += [
            equal(
                f"{name}: views, E psi at the end (equilateral triangle)", furthest(values, triangle), triangle, 1e-5
            ),
            at_most(f"{name}: that of the triangle, below psi(0)", triangle, floor - 0.1),
            at_least(f"{name}: ring, largest distance of two points at the end", spread, 1.0),
            at_most(f"{name}: ring, E psi at the end, below psi(0)", last, floor - 0.02),
        ]
    firsts = {key: figures.End(found[0].embeddings.numpy(), float(found[0].values[-1])) for key, found in ends.items()}
    pairs = {law: positives.pairs.tolist() for law, positives in laws.items()}
    picture = Picture(
        partial(figures.draw_circles, firsts, pairs),
        (9.5, 6.8),
        f"Against a regularised coupling (reg = {reg:g}) training keeps instances apart",
        "Where descent on the circle ends, from the same start; lines join positives, points that meet are drawn one "
        "outside of the other. Worst case: positives meet, nothing else matters. Regularised: a triangle, and the ring "
        "opens.",
    )
    remark = "Seen from several starts; that these ends are global minima is not proved."
    return Finding(tuple(checks), picture, (remark,))


def _player(reg: float, rule: Rule) -> Adversary:
    return lambda values, positives: regularised_plan(values, positives, reg, rule, tol=1e-6).plan
