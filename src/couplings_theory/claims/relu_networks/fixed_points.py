"""Where projected ascent of the energy with constant equal weights ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from couplings import TripletContrastive
from couplings_theory.claim import Check, Finding, Picture, at_least, at_most, equal
from couplings_theory.figures.relu_networks import draw_climb, draw_energies, draw_neurons
from couplings_theory.relu_networks import (
    Activation,
    Ascent,
    OneHotMixture,
    TwoLayer,
    Views,
    alive,
    ascend,
    energy,
    largest_gain,
    local_maximum,
    numerical_rank,
    one_hot_data,
    uniform_covariance,
)

HIDDEN, OUTPUTS = 8, 4
# With noise 0.2 the weakest magnitude, 1, is five standard deviations from zero: no sample changes its sign.
MIXTURE = OneHotMixture(dimensions=6, noise=0.2)

Climb = Callable[[Views, TwoLayer], Ascent]
_ASCEND: Climb = partial(ascend, tolerance=math.inf)  # the residual is one of the checks
_MAXIMUM: Climb = partial(local_maximum, tolerance=math.inf)


def _data() -> Views:
    return one_hot_data(128, MIXTURE, seed=0)


def linear_rank(
    activation: Activation = Activation.LINEAR,
    views: Views | None = None,
    climb: Climb = _ASCEND,
    seeds: Sequence[int] = range(6),
) -> Finding:
    """Ascend a linear network from several starts."""
    views = views or _data()
    ends = _ends(activation, views, climb, seeds)
    value, direction = _top(uniform_covariance(*views))
    best = HIDDEN / 2 * value
    alike = torch.stack([(end.network.w1 @ direction).abs().amin() for end in ends])
    checks = (
        equal("relative gap between E and TripletContrastive's", _library_gap(views, activation), 0.0, 1e-10),
        *_settled(ends),
        equal("smallest |cosine| of a row of W1 with the top eigenvector", float(alike.min()), 1.0, 1e-8),
        at_most("highest rank of W1", max(numerical_rank(end.network.w1) for end in ends), 1),
        at_most("highest rank of W2", max(numerical_rank(end.network.w2, 1e-6) for end in ends), 1),
        equal("largest relative miss of E = h/2 lambda_max", max(abs(e.energy / best - 1) for e in ends), 0.0, 1e-9),
    )
    panels = [("top eigenvector", direction[None])]
    panels += [(f"start {seed}: E = {end.energy:.1f}", end.network.w1) for seed, end in zip(seeds, ends, strict=True)]
    picture = Picture(
        partial(draw_neurons, panels=panels[:5]),
        (10, 3.2),
        "A linear hidden layer learns one direction, up to its sign",
        "W1 where ascent ends from four starts, a row for each hidden neuron, and the top eigenvector of C[x, x].",
    )
    return Finding(checks, picture)


def relu_rank(
    activation: Activation = Activation.RELU,
    views: Views | None = None,
    climb: Climb = _ASCEND,
    seeds: Sequence[int] = range(12),
) -> Finding:
    """Ascend a ReLU network from several starts."""
    views = views or _data()
    ends = _ends(activation, views, climb, seeds)
    best = HIDDEN / 2 * _top(uniform_covariance(*views))[0]
    ranks = [_rank(end) for end in ends]
    energies = [end.energy for end in ends]
    checks = (
        *_settled(ends),
        at_least("lowest rank of W1 over the neurons read, from random starts", min(ranks), 2),
        at_most("highest rank of W2", max(numerical_rank(end.network.w2, 1e-6) for end in ends), 1),
        equal("largest relative miss of 2E = lambda_max(C[f, f])", max(_miss(e, views) for e in ends), 0.0, 1e-9),
        at_least("most negative entry of a row that is read", min(_lowest(end) for end in ends), 0.0, 1e-6),
        at_most("highest E over h/2 lambda_max(C[x, x]), the linear network's", max(energies) / best, 1.0),
        at_least("number of different energies, 1 % apart", _different(energies), 2),
    )
    draw = partial(
        draw_energies, energies=energies, ranks=ranks, linear=best, ends=_three([e.network.w1 for e in ends])
    )
    picture = Picture(
        draw,
        (10, 4.2),
        "ReLU: random starts end at many fixed points, of several directions",
        "Left: the energy where ascent ends, a dot for each start, with the rank of W1; the line is the linear "
        "network's. Right: W1 of three of them; rows without a positive entry are off for all data.",
    )
    return Finding(checks, picture, (f"Ranks of W1 over the neurons read: {', '.join(map(str, ranks))}.",))


def local_maxima(
    activation: Activation = Activation.RELU,
    views: Views | None = None,
    climb: Climb = _MAXIMUM,
    seeds: Sequence[int] = range(8),
) -> Finding:
    """Lift what was switched off, ascend again, until the energy stays; from random starts and from a shared one."""
    views = views or _data()
    first, ends = _ends(activation, views, _ASCEND, seeds), _ends(activation, views, climb, seeds)
    shared = climb(views, _shared(views, activation))
    reached = [*ends, shared]
    gains = [largest_gain(end.network, views) for end in reached]
    covariance = uniform_covariance(*views)
    best = HIDDEN / 2 * float(covariance.diagonal().max())
    checks = (
        *_settled(reached),
        at_most("largest relative gain of E in 200 moves nearby", max(gains), 0.0, 1e-9),
        at_most("highest rank of W1 over the neurons read", max(map(_rank, reached)), 2),
        at_most("largest distance of a row from unit((+-X c)_+)", max(_off(e, covariance) for e in reached), 0.0, 1e-3),
        at_least("largest rank before switching on", max(map(_rank, first)), 3),
        equal("rank of W1 where all neurons share a coordinate", _rank(shared), 1, 0),
        equal("E there over h/2 max_m X_mm", shared.energy / best, 1.0, 1e-9),
        at_least("E there over the highest of the random starts", shared.energy / max(e.energy for e in ends), 1.0),
    )
    return Finding(checks, _climb_picture(first, ends, shared), _splits(ends))


def _climb_picture(first: Sequence[Ascent], ends: Sequence[Ascent], shared: Ascent) -> Picture:
    widest = max(range(len(ends)), key=lambda i: _rank(first[i]))
    draw = partial(
        draw_climb,
        before=[(end.energy, _rank(end)) for end in first],
        after=[(end.energy, _rank(end)) for end in ends],
        shared=(shared.energy, _rank(shared)),
        neurons={
            f"fixed point\n(start {widest})": first[widest].network.w1,
            f"local maximum\n(start {widest})": ends[widest].network.w1,
            "shared coordinate": shared.network.w1,
        },
    )
    return Picture(
        draw,
        (11, 4.2),
        "ReLU: local maxima have at most two directions",
        "Left: the energy of each start's fixed point and of the local maximum above it, with the rank of W1; on the "
        "right of it the higher maximum where all neurons share one coordinate. Right: W1 before and after entries "
        "that were switched off on the way were lifted. Rows without a positive entry are off for all data.",
    )


def _splits(ends: Sequence[Ascent]) -> tuple[str, str]:
    two = sum(_rank(end) == 2 for end in ends)
    told = ", ".join(f"{larger} and {smaller}" for larger, smaller in sorted({_split(e) for e in ends}, reverse=True))
    return (
        f"{two} of {len(ends)} random starts end at two directions (measured: rank one is a local maximum too).",
        f"Neurons of the two directions: {told}; the energy depends on the split.",
    )


def _shared(views: Views, activation: Activation) -> TwoLayer:
    """All neurons near the coordinate of most variance, read with one sign."""
    covariance = uniform_covariance(*views)
    w1 = torch.full((HIDDEN, len(covariance)), 0.05, dtype=torch.float64)
    w1[:, covariance.diagonal().argmax()] = 1
    w2 = torch.zeros(OUTPUTS, HIDDEN, dtype=torch.float64)
    w2[0] = 1
    return TwoLayer(w1, w2, activation)


def _ends(activation: Activation, views: Views, climb: Climb, seeds: Sequence[int]) -> list[Ascent]:
    inputs = views[0].shape[1]
    return [climb(views, TwoLayer.random(inputs, HIDDEN, OUTPUTS, activation, seed=seed)) for seed in seeds]


def _settled(ends: Sequence[Ascent]) -> tuple[Check, Check]:
    """That the constraint holds and that the ends are fixed points."""
    off = max(float((end.network.w1.norm(dim=1) - 1).abs().max()) for end in ends)
    return (
        equal("largest | |w_k| - 1 |", off, 0.0, 1e-10),
        at_most("largest sine between weights and their gradient", max(end.residual for end in ends), 0.0, 1e-8),
    )


def _library_gap(views: Views, activation: Activation) -> float:
    network = TwoLayer.random(views[0].shape[1], HIDDEN, OUTPUTS, activation, seed=0)
    loss = TripletContrastive(normalize=False)(*(network(view) for view in views))
    return float((-loss / (2 * len(views[0]) - 2) / energy(network, views) - 1).abs())


def _top(covariance: Tensor) -> tuple[float, Tensor]:
    values, vectors = torch.linalg.eigh(covariance)
    return float(values[-1]), vectors[:, -1]


def _rank(end: Ascent) -> int:
    return numerical_rank(end.network.w1[alive(end.network)])


def _miss(end: Ascent, views: Views) -> float:
    one, two = (end.network.hidden(view) for view in views)
    return abs(2 * end.energy / _top(uniform_covariance(one, two))[0] - 1)


def _lowest(end: Ascent) -> float:
    return float(end.network.w1[alive(end.network)].min())


def _different(energies: Sequence[float]) -> int:
    ordered = torch.tensor(sorted(energies))
    return 1 + int((ordered[1:] > 1.01 * ordered[:-1]).sum())


def _readout(network: TwoLayer) -> Tensor:
    """u of W2 = v u^T, (h,), up to its sign."""
    u: Tensor = torch.linalg.svd(network.w2)[2][0]
    return u


def _off(end: Ascent, covariance: Tensor) -> float:
    """The largest distance of a row that is read from unit((sign(u_k) X c)_+)."""
    network, read = end.network, alive(end.network)
    u, positive = _readout(network), network.w1.clamp_min(0)
    pull = u[read].sign()[:, None] * (covariance @ positive.T @ u)
    return float((network.w1[read] - torch.nn.functional.normalize(pull.clamp_min(0), dim=1)).norm(dim=1).max())


def _split(end: Ascent) -> tuple[int, int]:
    """How many neurons read have either sign of u_k, the larger number first."""
    u = _readout(end.network)[alive(end.network)]
    positive = int((u > 0).sum())
    return max(positive, len(u) - positive), min(positive, len(u) - positive)


def _three(layers: Sequence[Tensor]) -> list[Tensor]:
    return list(layers[:3])
