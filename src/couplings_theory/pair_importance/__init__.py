"""Pair importance: a contrastive loss ascends an energy under pair weights, which are themselves an optimum.

`weights` has the importance of pairs under a loss of the (phi, psi) family, the energy and the contrastive covariance;
`player` has who chooses the weights: minimisers of the energy plus a regulariser.
"""

from .encoder import blob_views, small_encoder
from .player import MinPlayer, feasible_points, late_threshold
from .weights import contrastive_covariance, energy, gaps, half_distances, importance, negatives, noisy_views, unit

__all__ = [
    "MinPlayer",
    "blob_views",
    "contrastive_covariance",
    "energy",
    "feasible_points",
    "gaps",
    "half_distances",
    "importance",
    "late_threshold",
    "negatives",
    "noisy_views",
    "small_encoder",
    "unit",
]
