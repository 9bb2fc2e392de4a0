"""Where ascent ends: global maxima of rank one, and what is seen where the theorem says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ...claim import Check, Finding, Picture, at_least, at_most, equal
from ...figures import linear_networks as figures
from ...linear_networks import Ascent, curvature, random_network
from .common import QUICK, Climb, covariance, repeated

SHAPES = {1: (6, 4), 2: (6, 8, 4), 3: (6, 8, 8, 4), 4: (6, 8, 8, 8, 4)}
SEEDS = range(10)


def global_maxima(climb: Climb = QUICK, form: Tensor | None = None) -> Finding:
    """Ascend from random starts; look at the energy, the ranks, the directions and the curvature of the ends."""
    form = covariance() if form is None else form
    runs = {depth: [climb(form, random_network(SHAPES[depth], seed)) for seed in SEEDS] for depth in (2, 3, 4)}
    values, vectors = torch.linalg.eigh((form + form.T) / 2)
    gap = float((values[-1] - values[-2]) / values[-1])
    bend = max(float(curvature(run.network, run.covariance)[-1]) for run in runs[3][:3])
    return Finding(
        checks=(
            *(check for depth in (3, 2, 4) for check in _ends(runs[depth], depth, vectors[:, -1], float(values[-1]))),
            at_most(
                "largest curvature at three of the ends, in units of lambda_max", bend / float(values[-1]), 0.0, 1e-6
            ),
            at_least("the condition: (lambda_1 - lambda_2) / lambda_1", gap, 0.01),
        ),
        picture=_picture(runs, values),
        remarks=(f"The spectrum of X: {', '.join(f'{value:.4g}' for value in values.flip(0).tolist())}.",),
    )


def _ends(runs: Sequence[Ascent], depth: int, top: Tensor, value: float) -> tuple[Check, ...]:
    ends = [run.network for run in runs]
    miss = max(abs(2 * float(run.energies[-1]) - value) for run in runs)
    aligned = min(min(abs(float(end.direction @ top)), *end.joints) for end in ends)
    return (
        equal(f"|2 E - lambda_max|, largest of ten seeds, {depth} layers", miss, 0.0, 1e-6),
        equal(
            f"second over first singular value of any layer, {depth} layers",
            max(end.rank_ratio for end in ends),
            0.0,
            1e-6,
        ),
        equal(f"|cosine| with the top eigenvector and between layers, smallest, {depth} layers", aligned, 1.0, 1e-6),
    )


def _picture(runs: Mapping[int, Sequence[Ascent]], values: Tensor) -> Picture:
    return Picture(
        partial(
            figures.global_maxima,
            energies=[2 * run.energies.numpy() for run in runs[3]],
            ratios={depth: [_ratios(run) for run in found[:5]] for depth, found in runs.items()},
            values=values.flip(0).numpy(),
        ),
        (12, 4.6),
        "Ten starts, one maximum: the largest eigenvalue, by layers of rank one",
        "Left: twice the energy of ten networks of three layers climbs past all eigenvalues to the largest. Right: "
        "the second singular value of every layer dies away; five starts a depth.",
    )


def _ratios(run: Ascent) -> list[float]:
    return [network.rank_ratio for network in run.path[:: max(len(run.path) // 100, 1)]]


def repeated_top(climb: Climb = QUICK, form: Tensor | None = None) -> Finding:
    """Ascend where the two largest eigenvalues are equal."""
    form = repeated() if form is None else form
    runs = {depth: [climb(form, random_network(SHAPES[depth], seed)) for seed in SEEDS] for depth in (1, 2, 3)}
    values, vectors = torch.linalg.eigh(form)
    plane = vectors[:, -2:]
    places = torch.stack([run.network.direction @ plane for run in runs[3]])
    miss = max(abs(2 * float(run.energies[-1]) - float(values[-1])) for found in runs.values() for run in found)
    ratios = {depth: [run.network.rank_ratio for run in found] for depth, found in runs.items()}
    apart = float((places @ places.T).abs().min())
    return Finding(
        checks=(
            equal("lambda_1 - lambda_2", float(values[-1] - values[-2]), 0.0, 1e-12),
            equal("|2 E - lambda_max|, largest of ten seeds and three depths", miss, 0.0, 1e-6),
            equal("second over first singular value, 2 and 3 layers, largest", max(ratios[2] + ratios[3]), 0.0, 1e-6),
            at_least("second over first singular value, one layer, smallest", min(ratios[1]), 0.01),
            equal(
                "part of the direction in the plane of the top eigenvectors, smallest",
                float(places.norm(dim=1).min()),
                1.0,
                1e-6,
            ),
            at_most("|cosine| of two seeds' directions, smallest", apart, 0.5),
        ),
        picture=Picture(
            partial(figures.repeated_top, places=places.numpy(), ratios=ratios),
            (10, 4.4),
            "With a repeated top eigenvalue every start finds a direction of its own",
            "Left: where the first layers of three-layer networks end in the plane of the two top eigenvectors. "
            "Right: rank one from two layers on, not with one; no theorem here says so.",
        ),
    )
