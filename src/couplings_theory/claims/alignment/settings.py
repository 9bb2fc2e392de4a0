"""What the claims about alignment are examined on: small random views, kernels and targets, by seed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

F64 = torch.float64
N = 16
"""Rows of a batch: two views of eight samples, in block order."""
TEMPERATURE = 0.3
UNIFORM = torch.full((N,), 1 / N, dtype=F64)
POSITIVES = torch.eye(N, dtype=F64).roll(N // 2, 0) / N
"""The plan that is wanted: each row's mass on its sample's other view."""


def random(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def noisy_views(seed: int, n: int = N // 2, d: int = 8) -> Tensor:
    """Two noisy views of random points on the sphere, (2, n, d)."""
    return normalize(random(seed, 1, n, d) + 0.5 * random(seed + 1, 2, n, d), dim=2)


def cosines(views: Tensor) -> Tensor:
    """Scores of all pairs of rows but a row with itself, (2n, 2n)."""
    rows = views.flatten(0, 1)
    return (rows @ rows.T).fill_diagonal_(-torch.inf)


def targets(count: int, seed: int = 3) -> list[Tensor]:
    """Permutations and dense plans in turn, each row of mass 1 / N."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.eye(N, dtype=F64)[torch.randperm(N, generator=generator)] for _ in range(count)]
    dense = [torch.rand(N, N, generator=generator, dtype=F64) for _ in range(count)]
    return [rows / rows.sum(1, keepdim=True) / N for pair in zip(orders, dense, strict=True) for rows in pair]
