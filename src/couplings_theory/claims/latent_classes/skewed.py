"""Classes that are not equally likely: a convex program, rare classes that merge, what it is worth afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor

from couplings_theory.claim import Check, Claim, Finding, Paper, Picture, Standing, at_least, at_most, equal
from couplings_theory.claims.latent_classes.plane import in_plane
from couplings_theory.claims.latent_classes.priors import MILD, RARE, RAREST, Prior, in_percent
from couplings_theory.figures.latent_classes.skewed import Bound, Sweep, draw_convex_program, draw_rare_classes
from couplings_theory.latent_classes import OptimalGram, certify, downstream, optimal_gram, population_loss
from couplings_theory.latent_classes.cones import gram_by_cones

Solve = Callable[..., OptimalGram]

# --- convex program ---------------------------------------------------------------------------------------------------

_PRIORS: tuple[Prior, ...] = (MILD, RARE, RAREST, (0.4, 0.3, 0.2, 0.1))
_SETTINGS = tuple(product(_PRIORS, (1, 4), (1.0, 5.0)))


def convex_program(
    solve: Solve = optimal_gram,
    second: Callable[..., Tensor] = gram_by_cones,
    settings: Sequence[tuple[Prior, int, float]] = _SETTINGS,
    tries: int = 40,
) -> Finding:
    """Two solvers that share no line, a certificate that believes neither, and grams that try to beat both."""
    firsts = [solve(prior, k=k, scale=s) for prior, k, s in settings]
    seconds = [second(prior, k=k, scale=s) for prior, k, s in settings]
    apart = [float((best.gram - gram).abs().max()) for best, gram in zip(firsts, seconds, strict=True)]
    dearer = [abs(_loss(gram, best) - best.loss) for best, gram in zip(firsts, seconds, strict=True)]
    bounds = [bound for seed, best in enumerate(firsts) for bound in _bounds(best, tries, seed)]
    checks = (
        equal("largest distance of the two solvers' losses (nats)", max(dearer), 0.0, 1e-6),
        equal("largest distance of the two solvers' grams, any entry", max(apart), 0.0, 1e-3),
        at_most("largest certified gap (nats)", max(best.gap for best in firsts), 1e-8),
        at_least("smallest dual variable y", min(float(best.certificate.dual.min()) for best in firsts), 0.0),
        at_least("smallest eigenvalue of diag(y) + D", min(_slack(best) for best in firsts), 0.0, 1e-10),
        at_least("smallest excess of a random feasible gram (nats)", min(b.excess for b in bounds), 0.0, 1e-9),
        at_least(
            "smallest certified gap of such a gram minus its excess", min(b.gap - b.excess for b in bounds), 0.0, 1e-9
        ),
    )
    caption = (
        "Left: feasible grams between a random one and the optimum, how much more they lose and how much more the "
        "certificate allows for; no point is below the diagonal. Right: optimal grams of four priors, k = 4, s = 1."
    )
    title = "The optimum is a convex program over grams, with a proof of optimality"
    shown = [best for best in firsts if (best.k, best.scale) == (4, 1.0)]
    grams = [(in_percent(best.prior.tolist()), best.gram.tolist()) for best in shown]
    return Finding(checks, Picture(partial(draw_convex_program, bounds=bounds, grams=grams), (11, 4.6), title, caption))


def _loss(gram: Tensor, like: OptimalGram) -> float:
    return float(population_loss(gram, like.prior, k=like.k, scale=like.scale))


def _slack(best: OptimalGram) -> float:
    return best.certificate.smallest_eigenvalue


def _bounds(best: OptimalGram, tries: int, seed: int) -> Iterator[Bound]:
    """Grams on the way from random ones to the optimum: what they lose, and what their certificate says."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(tries):
        v = torch.randn(len(best.prior), 2 + number % 3, generator=generator, dtype=torch.float64)
        v = torch.nn.functional.normalize(v, dim=1)
        way = 10.0 ** (-4 * number / tries)
        gram = way * v @ v.T + (1 - way) * best.gram
        yield Bound(_loss(gram, best) - best.loss, certify(gram, best.prior, k=best.k, scale=best.scale).gap)


# --- rare classes -----------------------------------------------------------------------------------------------------

_KS = (1, 2, 4, 8, 16, 32, 64)


def rare_classes(
    solve: Solve = optimal_gram, mild: Prior = MILD, rare: Prior = RARE, rarest: Prior = RAREST
) -> Finding:
    """The table of three skewed priors, and how the two rarest classes merge and part."""
    milds = {k: solve(mild, k=k) for k in _KS}
    rares = {k: solve(rare, k=k) for k in _KS}
    lowest = {k: solve(rarest, k=k) for k in _KS}
    higher = {k: solve(rarest, k=k, scale=5.0) for k in _KS}
    parted = [float(rares[k].gram[1, 2]) for k in _KS]
    checks = (
        *_mild_table(milds),
        equal("85/10/5, k = 1: <v_2, v_3>, merged", parted[0], 1.0, 1e-3),
        equal("85/10/5, k = 2: <v_2, v_3>, merged", parted[1], 1.0, 1e-3),
        equal("85/10/5, k = 1: <v_1, v_3>, opposite", float(rares[1].gram[0, 2]), -1.0, 1e-3),
        equal("85/10/5, k = 4: margin", _margin(rares[4]), 0.132, 5e-4),
        equal("85/10/5, k = 64: margin", _margin(rares[64]), 0.418, 5e-4),
        at_most(
            "85/10/5: largest rise of <v_2, v_3> from one k to the next",
            max(b - a for a, b in pairwise(parted)),
            0.0,
            1e-6,
        ),
        equal("97/2/1, s = 1: smallest <v_2, v_3> for k = 1 to 64, merged", _least(lowest), 1.0, 1e-3),
        equal("97/2/1, s = 5, k = 1: margin", _margin(higher[1]), 0.950, 5e-4),
        equal("97/2/1, s = 5, k = 64: margin", _margin(higher[64]), 1.044, 5e-4),
    )
    sweeps = [
        Sweep(in_percent(mild) + ", $s = 1$", _KS, [float(milds[k].gram[1, 2]) for k in _KS]),
        Sweep(in_percent(rare) + ", $s = 1$", _KS, parted),
        Sweep(in_percent(rarest) + ", $s = 1$", _KS, [float(lowest[k].gram[1, 2]) for k in _KS]),
        Sweep(in_percent(rarest) + ", $s = 5$", _KS, [float(higher[k].gram[1, 2]) for k in _KS]),
    ]
    planes = {k: in_plane(rares[k].gram) for k in (1, 2, 4, 16, 64)}
    caption = (
        "Top: optimal class vectors for probabilities 85, 10 and 5 % at s = 1. Up to two negatives the rare classes "
        "share one vector; more negatives part them. Bottom: the inner product of the two rarest classes."
    )
    title = "Rare classes merge when negatives are few, and more negatives part them"
    return Finding(checks, Picture(partial(draw_rare_classes, planes=planes, sweeps=sweeps), (11, 6), title, caption))


_MILD = {
    "k = 1: <v_1, v_2>": (-0.921, 5e-4),
    "k = 1: <v_1, v_3>": (-0.537, 5e-4),
    "k = 1: <v_2, v_3>": (0.166, 5e-4),
    "k = 1: loss (nats)": (0.41306, 1e-5),
    "k = 4: loss (nats)": (1.13750, 1e-5),
    "k = 16: loss (nats)": (2.26932, 1e-5),
    "k = 64: loss (nats)": (3.58254, 1e-5),
    "k = 1: margin": (0.834, 5e-4),
    "k = 4: margin": (0.964, 5e-4),
    "k = 64: margin": (1.051, 5e-4),
    "k = 1: cross entropy (nats)": (0.3726, 5.1e-5),
    "k = 4: cross entropy (nats)": (0.3682, 5.1e-5),
    "k = 16: cross entropy (nats)": (0.3658, 5e-5),
    "k = 64: cross entropy (nats)": (0.3650, 5e-5),
}
"""Prior (.6, .3, .1) at s = 1, from an independent program: the value and half a unit of its last digit, or one."""


def _mild_table(best: Mapping[int, OptimalGram]) -> Iterator[Check]:
    gram = best[1].gram
    angles = (gram[0, 1], gram[0, 2], gram[1, 2])
    losses = (best[k].loss for k in (1, 4, 16, 64))
    entropies = [downstream(best[k].gram, best[k].prior).cross_entropy for k in (1, 4, 16, 64)]
    found = [*map(float, angles), *losses, *(_margin(best[k]) for k in (1, 4, 64)), *entropies]
    for (what, (value, tolerance)), got in zip(_MILD.items(), found, strict=True):
        yield equal(f"60/30/10, {what}", got, value, tolerance)


def _margin(best: OptimalGram) -> float:
    return downstream(best.gram, best.prior, scale=best.scale).margin


def _least(best: Mapping[int, OptimalGram]) -> float:
    return min(float(found.gram[1, 2]) for found in best.values())


SKEWED = (
    Claim(
        "latent-classes/convex-program",
        "The optimum is a convex program",
        "For any class probabilities, k and s the optimal class vectors are found by a convex program: minimise the "
        "population loss over positive semidefinite grams with G_cc <= 1. Duality bounds how far any gram is from the "
        "optimum.",
        Paper.NEGATIVES,
        Standing.RESTATED,
        convex_program,
    ),
    Claim(
        "latent-classes/rare-classes",
        "Rare classes merge, more negatives part them",
        "Three classes, prior .85, .1, .05, s = 1: with one or two negatives the optimum gives the rare classes one "
        "vector; four or more part them, the further the more. At .97, .02, .01 they stay merged up to k = 64, and are "
        "apart at s = 5 from k = 1 on.",
        Paper.NEGATIVES,
        Standing.MEASURED,
        rare_classes,
    ),
)
