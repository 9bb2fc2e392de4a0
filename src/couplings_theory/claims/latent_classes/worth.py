"""What the optimum is worth afterwards, and what collisions and coverage have to do with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from couplings_theory.claim import Claim, Finding, Paper, Picture, Standing, at_least, at_most, equal
from couplings_theory.claims.latent_classes.priors import MILD, RARE, RAREST, THIRDS, TWO_RARE, Prior, in_percent, zipf
from couplings_theory.figures.latent_classes.worth import Floor, Outcome, draw_collisions, draw_downstream
from couplings_theory.latent_classes import (
    ClassDraw,
    Downstream,
    LatentClasses,
    OptimalGram,
    collision_loss,
    coverage,
    downstream,
    no_collision,
    optimal_gram,
    simplex_loss,
)
from couplings_theory.latent_classes.cones import gram_by_cones

Solve = Callable[..., OptimalGram]

# --- downstream -------------------------------------------------------------------------------------------------------

_MANY = (1, 2, 4, 8, 16, 64, 256)
_REMARKS = (
    "The cross entropy of the mean classifier at a fixed scale is not monotone in k: with probabilities 85, 10 and 5 % "
    "it falls to .3149 nats at k = 8 and then rises to .3155 at k = 64.",
    "The paper's conjecture for unequal classes is stated for its own downstream metric; this measures ours only.",
)


def after_training(
    solve: Solve = optimal_gram, equal_classes: Prior = THIRDS, skewed: Sequence[Prior] = (MILD, RARE, RAREST, zipf(8))
) -> Finding:
    """The mean classifier on the optimum over k."""
    worth = {prior: [_worth(solve, prior, k) for k in _MANY] for prior in (equal_classes, *skewed)}
    even, rare = worth[equal_classes], dict(zip(_MANY, worth[skewed[1]], strict=True))
    entropies = [each.cross_entropy for each in even]
    steps = [later.margin - sooner.margin for each in worth.values() for sooner, later in pairwise(each)]
    ideal = len(equal_classes) / (len(equal_classes) - 1)
    checks = (
        equal("equal classes: range of the cross entropy over k (nats)", max(entropies) - min(entropies), 0.0, 1e-7),
        equal("equal classes: margin C/(C - 1) at k = 256", even[-1].margin, ideal, 1e-6),
        at_least("smallest change of the margin from one k to the next, five priors, s = 1", min(steps), 0.0, 1e-6),
        equal("85/10/5: cross entropy, k = 1 (nats)", rare[1].cross_entropy, 0.3174, 5e-5),
        equal("85/10/5: cross entropy, k = 8 (nats)", rare[8].cross_entropy, 0.3149, 5e-5),
        equal("85/10/5: cross entropy, k = 16 (nats)", rare[16].cross_entropy, 0.3151, 5e-5),
        equal("85/10/5: cross entropy, k = 64, risen (nats)", rare[64].cross_entropy, 0.3155, 5e-5),
        equal("97/2/1: cross entropy, k = 1 (nats)", worth[skewed[2]][0].cross_entropy, 0.2551, 5e-5),
        equal("85/10/5: accuracy while merged, k = 1", rare[1].accuracy, 0.925, 1e-6),
        equal("85/10/5: accuracy, k = 64", rare[64].accuracy, 1.0, 1e-6),
    )
    outcomes = [_outcome(prior, found) for prior, found in worth.items()]
    caption = (
        "Margin and cross entropy of the mean classifier on the optimum at s = 1, and how the cross entropy moves from "
        "its value at k = 1. Equal classes: flat. Skewed: the margin grows, the cross entropy moves by thousandths."
    )
    title = "At s = 1 more negatives never lowered the margin; the cross entropy hardly moves"
    return Finding(checks, Picture(partial(draw_downstream, outcomes=outcomes), (11, 4.8), title, caption), _REMARKS)


def _worth(solve: Solve, prior: Prior, k: int, scale: float = 1.0) -> Downstream:
    return downstream(solve(prior, k=k, scale=scale).gram, prior, scale=scale)


def _outcome(prior: Prior, found: Sequence[Downstream]) -> Outcome:
    same = len(set(prior)) == 1
    label = f"{len(prior)} equal" if same else in_percent(prior) if len(prior) < 5 else f"Zipf, {len(prior)} classes"
    return Outcome(label, _MANY, [each.margin for each in found], [each.cross_entropy for each in found])


# --- falling margin ---------------------------------------------------------------------------------------------------

_FALLING = {1: 0.4704, 4: 0.4876, 16: 0.4796, 64: 0.4679, 256: 0.4647}
"""The margin by k at s = 2, found once by another program, to four digits."""
_LAST_DIGIT = 5.1e-5
_SCALES = (1.0, 2.0, 5.0)


def falling_margin(
    solve: Solve = optimal_gram, second: Callable[..., Tensor] = gram_by_cones, prior: Prior = TWO_RARE
) -> Finding:
    """A margin that falls as k grows, by two solvers, and what rises meanwhile."""
    worth = {s: {k: _worth(solve, prior, k, s) for k in _FALLING} for s in _SCALES}
    at_two, others = worth[2.0], (worth[1.0], worth[5.0])
    margins, entropies = ([getattr(each, name) for each in at_two.values()] for name in ("margin", "cross_entropy"))
    peak, last = margins[1], margins[-1]
    again = [downstream(second(prior, k=k, scale=2.0), prior, scale=2.0).margin for k in (1, 4)]
    checks = (
        *(equal(f"s = 2, k = {k}: margin", at_two[k].margin, value, _LAST_DIGIT) for k, value in _FALLING.items()),
        at_most("s = 2: margin at k = 256 minus that at k = 4", last - peak, -0.02),
        at_most("s = 2: margin at k = 256 minus that at k = 1", last - margins[0], -0.005),
        equal("s = 2, k = 1 and 4: margins of the second solver", max(map(_apart, again, margins)), 0.0, 1e-4),
        at_most("s = 2: largest certified gap (nats)", max(solve(prior, k=k, scale=2.0).gap for k in _FALLING), 1e-8),
        at_most("s = 2: largest change of the cross entropy from one k to the next", _largest_step(entropies), 0.0),
        equal("smallest accuracy, all k and scales", _smallest_accuracy(worth.values()), 1.0, 1e-6),
        at_least(
            "s = 1 and 5: smallest change of the margin from one k to the next",
            min(-_largest_step([-each.margin for each in row.values()]) for row in others),
            0.0,
            1e-6,
        ),
    )
    label = " / ".join(f"{100 * share:g}" for share in prior) + " %"
    outcomes = [
        Outcome(
            f"$s = {s:g}$", tuple(row), *([getattr(e, n) for e in row.values()] for n in ("margin", "cross_entropy"))
        )
        for s, row in worth.items()
    ]
    caption = (
        f"The mean classifier on the optimum for classes of {label}: at s = 2 the margin, which is that between the "
        "two rarest classes, falls from k = 4 on, while the cross entropy over all classes goes on falling."
    )
    title = "More negatives can lower the margin: two rare classes at s = 2"
    return Finding(checks, Picture(partial(draw_downstream, outcomes=outcomes), (11, 4.8), title, caption))


def _apart(one: float, other: float) -> float:
    return abs(one - other)


def _largest_step(values: Sequence[float]) -> float:
    return max(later - sooner for sooner, later in pairwise(values))


def _smallest_accuracy(rows: Iterable[Mapping[int, Downstream]]) -> float:
    return min(each.accuracy for row in rows for each in row.values())


# --- collisions -------------------------------------------------------------------------------------------------------

_DRAWS, _BATCH, _K = 3000, 64, 8
_SIGMAS = 4.5


def collisions(
    model: Callable[[Prior], LatentClasses] = LatentClasses, prior: Prior = MILD, solve: Solve = optimal_gram
) -> Finding:
    """Formulas against draws, the floor against the optimum, and whether the draws are independent."""
    stream = model(prior).stream(_BATCH, k=_K, seed=0)
    drawn = [next(stream) for _ in range(_DRAWS)]
    anchors = torch.cat([each.anchors for each in drawn])
    hits = torch.cat([each.collisions for each in drawn])
    seen = torch.stack([_distinct(each.negatives, len(prior)).double().mean() for each in drawn])
    floors = [float(collision_loss(prior, k=k)) for k in (1, 4, 16)]
    optima = {s: [solve(prior, k=k, scale=s).loss for k in (1, 4, 16)] for s in (1.0, 5.0, 20.0)}
    higher = {s: _distances(losses, floors) for s, losses in optima.items()}
    checks = (
        at_most(
            "no collision: largest distance of a frequency, in standard errors",
            _surprise(anchors, hits, prior),
            _SIGMAS,
        ),
        at_most(
            "classes covered: distance of the mean, in standard errors", _off(seen, coverage(prior, k=_K)), _SIGMAS
        ),
        equal(
            "variance of a batch's mean number of collisions / that of independent draws",
            _ratio(drawn, prior),
            1.0,
            0.12,
        ),
        equal("E log(1 + collisions): distance from a sum over binomial weights (nats)", _sum_apart(prior), 0.0, 1e-12),
        at_least(
            "smallest optimal loss minus that floor, s = 1, 5, 20 (nats)",
            min(min(above) for above in higher.values()),
            0.0,
            1e-12,
        ),
        equal("largest optimal loss minus that floor, s = 20 (nats)", max(higher[20.0]), 0.0, 1e-6),
    )
    caption = (
        "Left: how likely it is that none of k negatives is of the anchor's class. Middle: how many different classes "
        "k negatives hold. Right: the optimal loss of ten equal classes falls to the cost of collisions as s grows."
    )
    title = "Collisions and coverage: what k independent negatives hold"
    return Finding(checks, Picture(partial(draw_collisions, floor=_floor(prior)), (12, 4.4), title, caption))


def _distinct(negatives: Tensor, classes: int) -> Tensor:
    """How many different classes each anchor's negatives hold."""
    return torch.nn.functional.one_hot(negatives, classes).amax(dim=1).sum(dim=1)


def _surprise(anchors: Tensor, hits: Tensor, prior: Prior) -> float:
    """Frequency of no collision for each class against (1 - rho_c)^k, in standard errors; the largest."""
    expected = no_collision(prior, k=_K)
    met = torch.stack([(hits[anchors == c] == 0).double().mean() for c in range(len(prior))])
    error = (expected * (1 - expected) / anchors.bincount()).sqrt()
    return float(((met - expected) / error).abs().max())


def _off(seen: Tensor, expected: float) -> float:
    return float((seen.mean() - expected).abs() / (seen.std() / len(seen) ** 0.5))


def _ratio(drawn: Sequence[ClassDraw], prior: Prior) -> float:
    """Anchors that share their negatives collide together: the mean of a batch then varies more than this says."""
    rho = torch.tensor(prior, dtype=torch.float64)
    within, between = rho @ (rho * (1 - rho)), rho @ rho.square() - (rho @ rho).square()
    one = _K * within + _K**2 * between
    means = torch.stack([each.collisions.double().mean() for each in drawn])
    return float(means.var() / (one / _BATCH))


def _sum_apart(prior: Prior) -> float:
    def by_weights(k: int) -> float:
        terms = (
            (share, m, math.comb(k, m) * share**m * (1 - share) ** (k - m)) for share in prior for m in range(k + 1)
        )
        return math.fsum(share * weight * math.log1p(m) for share, m, weight in terms)

    return max(abs(float(collision_loss(prior, k=k)) - by_weights(k)) for k in (1, 4, 16, 64))


def _distances(optima: Sequence[float], floors: Sequence[float]) -> list[float]:
    return [loss - floor for loss, floor in zip(optima, floors, strict=True)]


def _floor(prior: Prior) -> Floor:
    ks, ten = tuple(2**power for power in range(9)), (0.1,) * 10
    chances = torch.stack([no_collision(prior, k=k) for k in ks]).T.tolist()
    return Floor(
        ks=ks,
        chances={f"{share:.0%}".replace("%", " %"): row for share, row in zip(prior, chances, strict=True)},
        covered={
            label: [coverage(p, k=k) for k in ks]
            for label, p in (("10 equal", ten), ("Zipf, 10 classes", zipf(10)), (in_percent(prior), prior))
        },
        losses={s: [float(simplex_loss(10, k=k, scale=s)) for k in ks] for s in (1.0, 2.0, 3.0)},
        bound=[float(collision_loss(ten, k=k)) for k in ks],
    )


WORTH = (
    Claim(
        "latent-classes/downstream",
        "What more negatives do to classification",
        "The mean classifier on the optimal class vectors at s = 1, k = 1 to 256: for equal classes nothing depends on "
        "k; for four skewed priors the margin never fell as k grew, while the cross entropy moved both ways. At larger "
        "scales the margin can fall: latent-classes/falling-margin.",
        Paper.NEGATIVES,
        Standing.MEASURED,
        after_training,
    ),
    Claim(
        "latent-classes/falling-margin",
        "More negatives can lower the margin",
        "Five classes of .003, .2298, .4257, .0087, .3328, s = 2: the margin of the mean classifier on the optimum, "
        "which is that between the two rarest, rises from k = 1 to 4 and then falls, at k = 256 below its value at "
        "k = 1. The accuracy stays 1 and the cross entropy falls. At s = 1 and 5 the margin never fell.",
        Paper.NEGATIVES,
        Standing.MEASURED,
        falling_margin,
    ),
    Claim(
        "latent-classes/collisions",
        "Collisions and coverage",
        "k negatives drawn independently all miss the anchor's class c with probability (1 - rho_c)^k and hold "
        "sum_c 1 - (1 - rho_c)^k different classes on average; E log(1 + collisions) bounds the loss from below and is "
        "its limit for large scales.",
        Paper.NEGATIVES,
        Standing.DERIVED,
        collisions,
    ),
)
