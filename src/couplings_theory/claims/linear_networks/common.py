"""What the claims about linear networks share: contrastive covariances."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from couplings.losses.exponential import ScaledInfoNCE

from ...linear_networks import Ascent, LinearNetwork, ascend
from ...pair_importance import contrastive_covariance, importance, noisy_views

Climb = Callable[[Tensor, LinearNetwork], Ascent]
QUICK: Climb = partial(ascend, rate=0.9, tolerance=1e-10)


def covariance(noise: float = 0.5, temperature: float = 0.3) -> Tensor:
    """X = C_alpha[x, x] of 16 samples in 6 dimensions under the weights that InfoNCE gives the inputs themselves."""
    views = noisy_views(16, 6, noise=noise)
    return contrastive_covariance(importance(ScaledInfoNCE(temperature), views), views)


def repeated() -> Tensor:
    """Eigenvalues 3, 3, 1.2, 0.7, -0.5, -1 in random directions."""
    values = torch.tensor([3.0, 3.0, 1.2, 0.7, -0.5, -1.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    rotated: Tensor = (basis * values) @ basis.T
    return (rotated + rotated.T) / 2
