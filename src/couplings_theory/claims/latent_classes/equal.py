"""Classes collapse; classes that are equally likely form the simplex, and the loss has a closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from couplings.losses import InfoNCE, Loss
from couplings_theory.claim import Check, Claim, Finding, Paper, Picture, Standing, at_least, equal
from couplings_theory.claims.latent_classes.plane import in_plane
from couplings_theory.figures.latent_classes.equal import (
    LossCurve,
    Spread,
    draw_closed_form,
    draw_collapse,
    draw_simplex,
)
from couplings_theory.latent_classes import (
    OptimalGram,
    certify,
    class_means,
    class_vectors,
    collision_loss,
    enumerated_loss,
    expected_loss,
    optimal_gram,
    population_loss,
    scatter,
    simplex_gram,
    simplex_loss,
)

Solve = Callable[..., OptimalGram]


def _uniform(classes: int) -> list[float]:
    return [1 / classes] * classes


# --- collapse ---------------------------------------------------------------------------------------------------------

_POPULATIONS = ((0, 0, 1, 1, 2, 2), (0, 0, 0, 1, 1, 2))
_SIZES = (0.03, 0.1, 0.2, 0.4, 0.7, 1.2)


def collapse(
    loss: Loss | None = None,
    centre: Callable[[Tensor, Tensor], Tensor] = class_means,
    solve: Solve = optimal_gram,
    k: int = 2,
    seeds: int = 5,
) -> Finding:
    """Every encoder of two small populations that is tried loses to the one that maps classes to points."""
    loss = InfoNCE(temperature=1.0) if loss is None else loss
    spreads = [_spread(loss, centre, solve, torch.tensor(labels), k, seeds) for labels in _POPULATIONS]
    first = spreads[0]
    checks = (
        equal("InfoNCE of the simplex over all tuples, 3 equal classes, k = 2 (nats)", first.collapsed, 0.641134, 1e-6),
        equal("its distance from population_loss of the optimal gram, both priors", _largest_miss(spreads), 0.0, 1e-9),
        at_least("smallest excess of a random encoder, 3 equal classes (nats)", min(first.excess), 1e-5),
        at_least("smallest excess of a random encoder, prior (1/2, 1/3, 1/6) (nats)", min(spreads[1].excess), 1e-5),
        at_least(
            "smallest fall of the loss when samples move to their class mean (nats)", _smallest_fall(spreads), 0.0
        ),
    )
    caption = (
        "Each point is an encoder of six samples, its loss an exact mean over all tuples of anchor, positive and two "
        "negatives. The wider a class, the higher the loss; the class means of the same encoder always lose less."
    )
    title = "Mapping every class to one point is optimal"
    return Finding(checks, Picture(partial(draw_collapse, spreads=spreads), (10, 4.4), title, caption))


def _spread(
    loss: Loss, centre: Callable[[Tensor, Tensor], Tensor], solve: Solve, labels: Tensor, k: int, seeds: int
) -> Spread:
    """Encoders around the optimum, by how far their classes spread."""
    prior = labels.bincount().double() / len(labels)
    best = solve(prior, k=k)
    vectors = class_vectors(best.gram)
    collapsed = float(expected_loss(loss, vectors[labels], labels, k=k))
    encoders = list(_perturbed(vectors[labels], seeds))
    losses = [float(expected_loss(loss, z, labels, k=k)) for z in encoders]
    means = [centre(z, labels) for z in encoders]
    moved = [float(population_loss(mean @ mean.T, prior, k=k)) for mean in means]
    return Spread(
        sizes=tuple(labels.bincount().tolist()),
        within=tuple(scatter(z, labels).within for z in encoders),
        excess=tuple(value - best.loss for value in losses),
        means=tuple(value - best.loss for value in moved),
        collapsed=collapsed,
        optimum=best.loss,
    )


def _perturbed(z: Tensor, seeds: int) -> Iterator[Tensor]:
    """Unit rows, moved by noise of several sizes."""
    for size, seed in product(_SIZES, range(seeds)):
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
        yield torch.nn.functional.normalize(z + size * noise, dim=1)


def _largest_miss(spreads: Sequence[Spread]) -> float:
    return max(abs(spread.collapsed - spread.optimum) for spread in spreads)


def _smallest_fall(spreads: Sequence[Spread]) -> float:
    return min(f - mean for spread in spreads for f, mean in zip(spread.excess, spread.means, strict=True))


# --- simplex ----------------------------------------------------------------------------------------------------------

_PAPERS = ((3, 4, 1.0), (4, 6, 1.0), (5, 8, 2.0))
_GRID = (*_PAPERS, *product((2, 3, 4, 5, 6, 8, 10), (1, 4, 64), (1.0,)), *product((3, 8), (4,), (0.2, 5.0)))
_WRONG_ANGLE = 1e-4
"""Nats by which a simplex of one class too many must be told from the optimum."""


def simplex(
    prior: Callable[[int], Sequence[float]] = _uniform,
    solve: Solve = optimal_gram,
    gram: Callable[[int], Tensor] = simplex_gram,
    settings: Sequence[tuple[int, int, float]] = _GRID,
) -> Finding:
    """Solve with equal classes for many C, k and scales, and certify the simplex without any solver."""
    best = {(c, k, s): solve(prior(c), k=k, scale=s) for c, k, s in settings}
    angles = max(_off_diagonal(found.gram, -1 / (c - 1)) for (c, _, _), found in best.items())
    losses = max(abs(found.loss - float(simplex_loss(c, k=k, scale=s))) for (c, k, s), found in best.items())
    proofs = max(certify(gram(c), prior(c), k=k, scale=s).gap for c, k, s in settings)
    wider = min(certify(gram(c + 1)[:c, :c], prior(c), k=k, scale=s).gap for c, k, s in _PAPERS)
    checks = (
        equal("largest distance of an inner product from -1/(C - 1)", angles, 0.0, 1e-6),
        equal("largest distance of the optimal loss from the closed form (nats)", losses, 0.0, 1e-8),
        equal("largest certified gap of a solution (nats)", max(b.gap for b in best.values()), 0.0, 1e-7),
        equal("largest certified gap of the simplex itself, no solver (nats)", proofs, 0.0, 1e-10),
        equal(
            "largest distance of the rank from C - 1", max(abs(b.rank - c + 1) for (c, _, _), b in best.items()), 0, 0
        ),
        at_least("smallest gap of a simplex of the wrong angle, that of C + 1 (nats)", wider, _WRONG_ANGLE),
    )
    angles_of = {(c, k): float(found.gram[0, 1]) for (c, k, s), found in best.items() if s == 1.0}
    threes = sorted(k for c, k, s in best if (c, s) == (3, 1.0))
    planes = {k: in_plane(best[3, k, 1.0].gram) for k in threes}
    caption = (
        "Left: optimal class vectors of three equal classes for several k, on top of each other. Right: the inner "
        "product of any two classes, solved (marks) and -1/(C - 1) (line): k does not matter."
    )
    title = "Equal classes form the simplex, for every number of negatives"
    return Finding(checks, Picture(partial(draw_simplex, planes=planes, angles=angles_of), (10, 4.6), title, caption))


def _off_diagonal(gram: Tensor, expected: float) -> float:
    others = ~torch.eye(len(gram), dtype=torch.bool)
    return float((gram[others] - expected).abs().max())


# --- closed form ------------------------------------------------------------------------------------------------------

_TABLE = {
    (10, 1.0): {1: 0.325430, 2: 0.572914, 4: 0.938856, 8: 1.419194, 16: 1.987566, 64: 3.270055, 256: 4.628844},
    (10, 2.0): {1: 0.161915, 2: 0.304150, 4: 0.544334, 8: 0.908293, 16: 1.393494, 64: 2.600840, 256: 3.939454},
    (100, 1.0): {1: 0.314381, 2: 0.553433, 4: 0.908011, 8: 1.376410, 16: 1.935034, 64: 3.207187, 256: 4.562816},
    (3, 1.0): {1: 0.365325, 4: 1.042651},
    (4, 1.0): {2: 0.613202, 6: 1.282373},
    (4, 5.0): {2: 0.330262},
    (5, 2.0): {8: 1.083042},
}
"""Losses of the simplex in nats by (classes, scale) and k, from an independent program in double precision."""


def closed_form(gram: Callable[[int], Tensor] = simplex_gram, form: Callable[..., Tensor] = simplex_loss) -> Finding:
    """Three ways to the loss of the simplex, against a table."""
    settings = [(c, s, k, value) for (c, s), row in _TABLE.items() for k, value in row.items()]
    integral = [float(population_loss(gram(c), _uniform(c), k=k, scale=s)) for c, s, k, _ in settings]
    closed = [float(form(c, k=k, scale=s)) for c, s, k, _ in settings]
    small = [(c, s, k) for c, s, k, _ in settings if c <= 5]
    counted = [float(enumerated_loss(gram(c), _uniform(c), k=k, scale=s)) for c, s, k in small]
    same = [float(form(c, k=k, scale=s)) for c, s, k in small]
    checks = (
        *(_row(c, s, closed, settings) for c, s in _TABLE),
        equal("largest distance of the integral from the closed form (nats)", _apart(integral, closed), 0.0, 1e-12),
        equal("largest distance of the enumeration from the closed form (nats)", _apart(counted, same), 0.0, 1e-12),
    )
    curves = [
        _curve(gram, form, c, s) for c, s in ((10, 1.0), (10, 2.0), (10, 3.0), (100, 1.0), (100, 2.0), (100, 3.0))
    ]
    caption = (
        "Lines: the closed form. Marks: the exact population loss at the simplex, by the integral. Dashed: what "
        "collisions alone cost, which no representation and no scale gets below."
    )
    title = "The loss of the simplex in closed form, and what collisions alone cost"
    return Finding(checks, Picture(partial(draw_closed_form, curves=curves), (10, 4.6), title, caption))


def _row(
    classes: int, scale: float, closed: Sequence[float], settings: Sequence[tuple[int, float, int, float]]
) -> Check:
    """The closed form against one row of the table."""
    pairs = zip(closed, settings, strict=True)
    misses = [abs(got - value) for got, (c, s, _, value) in pairs if (c, s) == (classes, scale)]
    what = f"C = {classes}, s = {scale:g}: largest distance from the table, {len(misses)} values of k (nats)"
    return equal(what, max(misses), 0.0, 1e-6)


def _apart(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def _curve(gram: Callable[[int], Tensor], form: Callable[..., Tensor], classes: int, scale: float) -> LossCurve:
    ks = [2**power for power in range(11)]
    return LossCurve(
        label=f"$C = {classes}$, $s = {scale:g}$",
        classes=classes,
        ks=tuple(ks),
        closed=tuple(float(form(classes, k=k, scale=scale)) for k in ks),
        integral=tuple(float(population_loss(gram(classes), _uniform(classes), k=k, scale=scale)) for k in ks[::5]),
        bound=tuple(float(collision_loss(_uniform(classes), k=k)) for k in ks),
    )


EQUAL = (
    Claim(
        "latent-classes/collapse",
        "Classes collapse to points",
        "An encoder that minimises the latent-class loss maps all samples of a class to one vector: replacing samples "
        "by the mean of their class never raises the loss (Jensen, in the positive, the negatives and the anchor).",
        Paper.NEGATIVES,
        Standing.DERIVED,
        collapse,
    ),
    Claim(
        "latent-classes/simplex",
        "Equal classes form the simplex",
        "With C equally likely classes in C - 1 or more dimensions, the optimal class vectors form the regular "
        "simplex, <v_c, v_c'> = -1/(C - 1), for every number of negatives k and every scale s > 0.",
        Paper.NEGATIVES,
        Standing.DERIVED,
        simplex,
    ),
    Claim(
        "latent-classes/closed-form",
        "The loss of the simplex",
        "The optimal loss of C equal classes is E log(1 + (k - m) + m e^(-s C/(C - 1))), m ~ Binomial(k, (C - 1)/C), "
        "for any k >= 1 and s >= 0.",
        Paper.NEGATIVES,
        Standing.DERIVED,
        closed_form,
    ),
)
