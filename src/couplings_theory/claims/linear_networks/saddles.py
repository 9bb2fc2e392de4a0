"""Critical points that are no maxima."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ...claim import Finding, Picture, at_least, equal
from ...figures import linear_networks as figures
from ...linear_networks import Ascent, LinearNetwork, critical_network, curvature
from .common import QUICK, Climb, covariance

Which = tuple[int, ...]
Numbers = Mapping[Which, float]
SHAPE = (6, 8, 8, 4)
SINGLE: tuple[Which, ...] = ((1,), (2,), (3,), (4,), (5,))
SEVERAL: tuple[Which, ...] = ((0, 1), (1, 2), (3, 4), (0, 1, 2), (0, 1, 2, 3))
At = Callable[[Tensor, Sequence[int], Sequence[int]], LinearNetwork]


def saddles(at: At = critical_network, climb: Climb = QUICK) -> Finding:
    """Take the gradient and the curvature at networks made of other eigenvectors, and climb from beside them."""
    form = covariance()
    values = torch.linalg.eigvalsh(form).flip(0)
    top = float(values[0])
    points: dict[Which, LinearNetwork] = {which: at(form, SHAPE, which) for which in ((0,), *SINGLE, *SEVERAL)}
    bends = {which: float(curvature(point, form)[-1]) for which, point in points.items()}
    bounds = {which: _bound(which, point, form, values) for which, point in points.items()}
    slope = max(point.slope(point.gradients(form)) for point in points.values()) / top
    broken = _two_broken_joints(form)
    climbs: dict[Which, Ascent] = {
        which: climb(form, _beside(points[which])) for which in ((1,), (2,), (0, 1), (0, 1, 2))
    }
    flat = climb(form, _beside(broken, 0.1))
    miss = max(abs(2 * float(run.energies[-1]) - top) for run in (*climbs.values(), flat))
    return Finding(
        checks=(
            equal("gradient on the spheres at all points, largest, in units of lambda_1", slope, 0.0, 1e-10),
            at_least(
                "curvature - (lambda_1 - lambda_k), smallest of five lower eigenvectors",
                _slack(bends, bounds, SINGLE),
                0.0,
                1e-8,
            ),
            at_least(
                "curvature - 4 (L - 1) E, smallest of five balanced networks", _slack(bends, bounds, SEVERAL), 0.0, 1e-8
            ),
            at_least(
                "smallest bound, in units of lambda_1: they say something",
                min(bounds[w] for w in SINGLE + SEVERAL) / top,
                1e-3,
            ),
            equal("curvature at the network on the top eigenvector", bends[0,], 0.0, 1e-8),
            equal("curvature at four layers with two broken joints", float(curvature(broken, form)[-1]), 0.0, 1e-10),
            equal("|2 E - lambda_max| after climbing from beside five of them, largest", miss, 0.0, 1e-6),
        ),
        picture=_picture(climbs, values, bends, bounds, {w: 2 * float(p.energy(form)) for w, p in points.items()}),
        remarks=(
            "Two broken joints at four layers: E = 0 and no curvature at all, yet networks beside it ascend; the "
            "second derivative cannot tell.",
        ),
    )


def _bound(which: Sequence[int], point: LinearNetwork, form: Tensor, values: Tensor) -> float:
    """The curvature that theory promises."""
    if len(which) == 1:
        return float(values[0] - values[which[0]])
    return 4 * (point.depth - 1) * float(point.energy(form))


def _slack(bends: Numbers, bounds: Numbers, among: Sequence[Which]) -> float:
    return min(bends[which] - bounds[which] for which in among)


def _beside(point: LinearNetwork, distance: float = 1e-3) -> LinearNetwork:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(layer.shape, generator=generator, dtype=layer.dtype) for layer in point.layers]
    return point.moved(noise, distance)


def _two_broken_joints(form: Tensor) -> LinearNetwork:
    """Four layers of rank one: the second does not read what the first writes, nor the fourth what the third does."""
    first, other = torch.eye(8).to(form)[:2]
    read = torch.linalg.eigh(form)[1][:, -1]
    return LinearNetwork(
        (torch.outer(first, read), torch.outer(first, other), torch.outer(first, first), torch.outer(first[:4], other))
    )


def _picture(
    climbs: Mapping[Which, Ascent], values: Tensor, bends: Numbers, bounds: Numbers, levels: Numbers
) -> Picture:
    return Picture(
        partial(
            figures.saddles,
            climbs={_name(which): 2 * run.energies.numpy() for which, run in climbs.items()},
            values=values.numpy(),
            points=[(levels[which], bends[which], len(which)) for which in bends],
            bounds={
                "lower eigenvector": [(levels[w], bounds[w]) for w in SINGLE],
                "several": [(levels[w], bounds[w]) for w in SEVERAL],
            },
        ),
        (12, 4.8),
        "Plateaus of the ascent are saddles: all of them have a way up",
        "Left: starts beside a saddle wait there, then leave for the largest eigenvalue. Right: the largest curvature "
        "at each critical point, at or above what theory promises; it is zero at the maximum alone.",
    )


def _name(which: Sequence[int]) -> str:
    return ", ".join(rf"$v_{k + 1}$" for k in which)
