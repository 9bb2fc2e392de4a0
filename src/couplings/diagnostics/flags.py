"""Which samples stand out in a survey."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor

from ..basics import checks

__all__ = ["failing_positives", "hub_bound", "hubs"]

_NOISE, _HEAVY = 1.05, 3.0
"""Masses, in units of the average row's."""
_FAR, _CHANCE = 2.0, 0.01
"""Distances of the 99 % quantile from the median; rows that may be hubs by chance."""
_NORMAL = NormalDist()


def failing_positives(positive_rank: Tensor, level: float = 0.05) -> Tensor:
    """Rows whose positive could as well be anyone: more than `level` of the others are nearer; worst first.

    Of a positive that was drawn at random the rank is uniform on [0, 1], so a share 1 - `level` of swapped positives
    is found, but for those that were swapped for a sample much like the right one.

    Args:
        positive_rank: (n,), of :func:`survey`; NaN is no positive.
        level: in (0, 1).

    Returns:
        int64 (m,).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import failing_positives
        >>> failing_positives(torch.tensor([0.0, 0.4, 0.01, 0.7])).tolist()
        [3, 1]
    """
    checks.require(0 < level < 1, f"level must be in (0, 1), got {level!r}")
    return _above(positive_rank, level)


def hub_bound(mass: Tensor) -> float:
    """The mass above which a row is a hub: twice as far from the median as the 99 % quantile is, and 3 at most.

    How far masses spread depends on the loss and its temperature: no bound of its own fits all. A row that is heavier
    than that stands out from the heaviest hundredth itself; one of three times the average is heavy in any case. Below
    1.05 nothing is a hub: that is the noise of a few batches. Of 9,000 rows and more it is so far that of normal masses
    none would lie above in 99 of 100 samples: 2.3 times at 300,000 rows.

    Args:
        mass: (n,), of :func:`survey`.

    Example:
        >>> import torch
        >>> from couplings.diagnostics import hub_bound
        >>> hub_bound(torch.ones(200)), hub_bound(torch.linspace(0, 50, 200))
        (1.05, 3.0)
    """
    checks.tensor("mass", mass)
    checks.require(mass.dim() == 1 and len(mass) > 0, f"mass must be a vector (n,), got {tuple(mass.shape)}")
    middle, high = torch.quantile(mass.double(), mass.new_tensor([0.5, 0.99], dtype=torch.float64)).tolist()
    far = max(_FAR, -_NORMAL.inv_cdf(_CHANCE / len(mass)) / _NORMAL.inv_cdf(0.99))
    bound: float = min(max(middle + far * (high - middle), _NOISE), _HEAVY)
    return bound


def hubs(mass: Tensor) -> Tensor:
    """Rows that push the others much harder than the rest of the rows do, above :func:`hub_bound`; heaviest first.

    Args:
        mass: (n,), of :func:`survey`.

    Returns:
        int64 (m,).

    Example:
        >>> import torch
        >>> from couplings.diagnostics import hubs
        >>> mass = torch.linspace(0.9, 1.1, 500)
        >>> mass[7], mass[3] = 1.5, 4.0
        >>> hubs(mass).tolist()
        [3, 7]
    """
    return _above(mass, hub_bound(mass))


def _above(values: Tensor, bound: float) -> Tensor:
    found = (values > bound).nonzero()[:, 0]
    return found[values[found].argsort(descending=True, stable=True)]
