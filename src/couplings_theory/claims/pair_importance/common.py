"""What the claims about pair importance share: the losses, a batch, and distances as a player sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from couplings.losses.exponential import MINE, LiftedStructured, NPlusOneTuplet, ScaledInfoNCE, SoftTriplet
from couplings.losses.pairs import ModifiedTriplet, PairLoss, Triplet, TripletContrastive

from ...pair_importance import gaps, half_distances, negatives, noisy_views, unit

Views = Sequence[Tensor]
Weights = Callable[[PairLoss, Views], Tensor]
TAU = 0.3
MEMBERS: Mapping[str, Callable[[bool], PairLoss]] = MappingProxyType(
    {
        "InfoNCE": lambda unit: ScaledInfoNCE(TAU, normalize=unit),
        "decoupled InfoNCE": lambda unit: ScaledInfoNCE(TAU, e0=0.0, normalize=unit),
        "soft triplet": lambda unit: SoftTriplet(TAU, 0.3, normalize=unit),
        "MINE": lambda unit: MINE(normalize=unit),
        "N+1 tuplet": lambda unit: NPlusOneTuplet(normalize=unit),
        "lifted structured": lambda unit: LiftedStructured(-1.5, normalize=unit),
        "triplet": lambda unit: Triplet(0.3, normalize=unit),
        "modified triplet": lambda unit: ModifiedTriplet(5.0, normalize=unit),
        "triplet contrastive": lambda unit: TripletContrastive(normalize=unit),
    }
)
"""The (phi, psi) family, each with unit rows (True) or with rows as they are."""


def batch() -> tuple[Tensor, ...]:
    """Two views of seven samples on the unit sphere: N = 14, 12 negatives an anchor."""
    return unit(noisy_views(7, 5))


def seen_distances(views: Views) -> Tensor:
    """d_ij^2 of negatives, infinity elsewhere."""
    return half_distances(views).masked_fill(~negatives(len(views[0])), torch.inf)


def kernel_sums(views: Views, temperature: float) -> Tensor:
    """xi_i = sum_j exp((d_i^2 - d_ij^2) / tau) over the negatives, (2 n,)."""
    return (gaps(views) / temperature).exp().masked_fill(~negatives(len(views[0])), 0).sum(1)


def largest(values: Tensor) -> float:
    """The largest entry in size; NaN where one is."""
    return float(values.abs().max())
