"""How layers come to agree along the ascent."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ...claim import Finding, Picture, at_least, equal
from ...figures import linear_networks as figures
from ...linear_networks import Ascent, ascend, random_network
from .common import Climb, covariance

SHAPE = (6, 8, 8, 4)
EVERY = 10
"""Steps from one point of a curve to the next."""
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Of the way from the first energy to the last: when the strip shows the layers, and at the end."""


COARSE: Climb = partial(ascend, rate=0.02, tolerance=1e-3)
FINE: Climb = partial(ascend, rate=0.01, tolerance=1e-3)


def dynamics(coarse: Climb = COARSE, fine: Climb = FINE) -> Finding:
    """Follow one network with small steps, and with steps half as long."""
    form, start = covariance(), random_network(SHAPE, seed=3)
    runs = [climb(form, start) for climb in (coarse, fine)]
    laws = [_law(run) for run in runs]
    ratios = [_held(seen, said) for seen, said in laws]
    end = runs[1].network
    return Finding(
        checks=(
            at_least(
                "smallest change of E in a step, in units of lambda_max", _smallest_rise(runs[1], form), 0.0, 1e-12
            ),
            equal("log of the imbalance / (-4 sum E dt), where 1e-6 of it is left", ratios[1], 1.0, 0.02),
            equal(
                "relative error of that law, over the one with half the steps' length",
                (ratios[0] - 1) / (ratios[1] - 1),
                2.0,
                0.5,
            ),
            equal("imbalance of layers at the end", end.imbalance, 0.0, 1e-4),
            equal("|cosine| between what a layer writes and the next reads, smallest", min(end.joints), 1.0, 1e-6),
            equal("second over first singular value at the end, largest", end.rank_ratio, 0.0, 1e-3),
        ),
        picture=_picture(runs[1], *laws[1]),
    )


def _law(run: Ascent) -> tuple[Tensor, Tensor]:
    """log of the imbalance over the first, and -4 sum E dt, each so many steps."""
    steps = torch.arange(EVERY, len(run.path), EVERY)
    imbalances = torch.tensor([run.path[step].imbalance for step in steps], dtype=torch.float64)
    said = -4 * run.step * run.energies.cumsum(0)[steps - 1]
    return (imbalances / run.path[0].imbalance).log(), said


def _held(seen: Tensor, said: Tensor, fallen: float = 1e-6) -> float:
    """The decay that was seen over the one that the law says, at the last step before so little is left."""
    last = int((said > math.log(fallen)).nonzero()[-1])
    return float(seen[last] / said[last])


def _smallest_rise(run: Ascent, form: Tensor) -> float:
    return float(run.energies.diff().min() / torch.linalg.eigvalsh(form)[-1])


def _moments(run: Ascent) -> list[int]:
    """Steps at which the energy has come so far, and the last."""
    share = (run.energies - run.energies[0]) / (run.energies[-1] - run.energies[0])
    return [*(int((share >= part).int().argmax()) for part in SHARES), len(run.path) - 1]


def _picture(run: Ascent, seen: Tensor, said: Tensor) -> Picture:
    moments = _moments(run)
    top = [[float(s[k]) for s in network.singular_values for k in (0, 1)] for network in run.path[EVERY::EVERY]]
    return Picture(
        partial(
            figures.dynamics,
            strips=[[layer.numpy() for layer in run.path[step].layers] for step in moments],
            moments=moments,
            energies=2 * run.energies.numpy(),
            every=EVERY,
            singular=torch.tensor(top).numpy(),
            seen=seen.exp().numpy(),
            said=said.exp().numpy(),
        ),
        (13, 6.2),
        "Three layers agree on one direction and drop the rest",
        "Left: the layers at six moments; stripes mean rank one. Right: of each layer one singular value takes all; "
        "neighbouring layers fall into step exactly as fast as the energy says.",
    )
