"""Local maxima that are not global: narrow layers over negative directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...claim import Finding, Picture, at_least, at_most, equal
from ...figures import linear_networks as figures
from ...linear_networks import Ascent, LinearNetwork, curvature, random_network
from .common import QUICK, Climb, covariance

SEEDS = range(10)
INPUT, OUTPUT = 6, 4


def narrow_layers(climb: Climb = QUICK, narrow: int = 2, wide: int = 6) -> Finding:
    """Ascend with narrow and with wide hidden layers, and look around the ends without energy."""
    form = covariance(noise=1.5, temperature=0.05)
    values = torch.linalg.eigvalsh(form)
    top, below = float(values[-1]), int((values < 0).sum())
    runs = {
        width: [climb(form, random_network((INPUT, width, width, OUTPUT), seed)) for seed in SEEDS]
        for width in (narrow, wide)
    }
    ends = {width: [2 * float(run.energies[-1]) for run in found] for width, found in runs.items()}
    drawn = [run.network for run, end in zip(runs[narrow], ends[narrow], strict=True) if abs(end) < 1e-6 * top]
    built = [climb(form, _dead(form, narrow).moved(_noise(narrow, seed), 0.01)).network for seed in range(3)]
    back = max(abs(2 * float(net.energy(form))) for net in built) / top
    nearest = max(min(abs(end - top), abs(end)) for found in ends.values() for end in found)
    dead = [*drawn, *built]
    return Finding(
        checks=(
            equal(f"networks of width {wide} at 2 E = lambda_max, of 10", _count(ends[wide], top), len(SEEDS), 0.0),
            at_most(
                f"width {narrow}, from beside a built dead network: |2 E| at the end / lambda_max, largest", back, 1e-6
            ),
            equal("distance of 2 E from lambda_max or zero, largest of all ends", nearest, 0.0, 1e-6 * top),
            at_least("negative eigenvalues of X less the narrow width (the condition: >= 0)", below - narrow, 0.0),
            equal("|W_3 W_2| at dead ends, largest", _worst(map(_upper, dead)), 0.0, 1e-6),
            at_most(
                "largest eigenvalue of W_1 X W_1^T at dead ends",
                _worst(_read(net, form) for net in dead),
                0.0,
            ),
            at_most(
                "largest curvature at dead ends, in units of lambda_max",
                _worst(float(curvature(net, form)[-1]) for net in dead) / top,
                0.0,
                1e-8,
            ),
            at_most(
                "2 E of 500 networks within 1 % of dead ends, largest",
                _worst(_around(net, form) for net in dead),
                0.0,
            ),
        ),
        picture=_picture(runs, values, narrow, wide),
        remarks=(
            f"{len(drawn)} of {len(SEEDS)} random networks of width {narrow} ended at E = 0. Of 40, 2 did "
            "(seeds 4 and 7), and none of 40 at width 6.",
        ),
    )


def _dead(form: Tensor, width: int) -> LinearNetwork:
    """W_1 reads the most negative directions, and W_3 what W_2 does not write: no gradient, E = 0."""
    reads = torch.linalg.eigh(form)[1][:, :width].T / math.sqrt(width)
    first, second = torch.zeros(width, width).to(form), torch.zeros(OUTPUT, width).to(form)
    first[0, 0] = second[0, 1] = 1
    return LinearNetwork((reads, first, second))


def _noise(width: int, seed: int) -> tuple[Tensor, ...]:
    return random_network((INPUT, width, width, OUTPUT), seed).layers


def _worst(numbers: Iterable[float]) -> float:
    """The largest; NaN where there is none, which passes no check."""
    return max(numbers, default=math.nan)


def _count(ends: Sequence[float], top: float) -> int:
    return sum(abs(end - top) < 1e-6 * top for end in ends)


def _upper(net: LinearNetwork) -> float:
    return float(LinearNetwork(net.layers[1:]).product.norm())


def _read(net: LinearNetwork, form: Tensor) -> float:
    return float(torch.linalg.eigvalsh(net.layers[0] @ form @ net.layers[0].T)[-1])


def _around(net: LinearNetwork, form: Tensor, count: int = 500, distance: float = 0.01) -> float:
    """The largest 2 E of random networks whose layers are that far from its own, before they are scaled back."""
    generator = torch.Generator().manual_seed(3)
    product = torch.eye(len(form)).to(form)
    for layer in net.layers:
        noise = torch.randn(count, *layer.shape, generator=generator, dtype=layer.dtype)
        moved = layer + distance * noise / noise.flatten(1).norm(dim=1)[:, None, None]
        product = moved / moved.flatten(1).norm(dim=1)[:, None, None] @ product
    return float(((product @ form) * product).sum((1, 2)).max())


def _picture(runs: dict[int, list[Ascent]], values: Tensor, narrow: int, wide: int) -> Picture:
    return Picture(
        partial(
            figures.narrow_layers,
            values=values.flip(0).numpy(),
            climbs={width: [2 * run.energies.numpy() for run in found] for width, found in runs.items()},
            widths=(narrow, wide),
        ),
        (13, 4.4),
        "Narrow layers over negative directions can die",
        "Left: hard negatives and strong augmentation leave one direction worth learning. Some networks whose hidden "
        "layers are narrower than the number of negative eigenvalues end at energy zero; wider ones never do.",
    )
